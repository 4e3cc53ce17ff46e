from django.apps import AppConfig


class ClientsConfig(AppConfig):
    name = "clients"
    verbose_name = "Clients"

    def ready(self) -> None:
        from clients.profiles import runtimes_under
        from seccomp_profiles import proof

        proof.runtimes_under.register(runtimes_under)
