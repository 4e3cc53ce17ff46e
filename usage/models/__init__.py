from usage.models.hourly import Counted, HourlyUsage, Refusal, StoredSample
from usage.models.price import Price

__all__ = ["Counted", "HourlyUsage", "Price", "Refusal", "StoredSample"]
