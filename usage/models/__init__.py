from usage.models.hourly import Counted, DailyUsage, HourlyUsage, Refusal, StoredSample
from usage.models.price import Price

__all__ = ["Counted", "DailyUsage", "HourlyUsage", "Price", "Refusal", "StoredSample"]
