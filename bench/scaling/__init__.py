"""How far Postgres, the queue and the platform's own processes go, without sandboxes: see __main__."""
