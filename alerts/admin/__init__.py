from alerts.admin import alerts, channels, notifications, rules, silences

__all__ = ["alerts", "channels", "notifications", "rules", "silences"]
