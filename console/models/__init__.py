from console.models.doctor import DoctorReport
from console.models.hourly import HourlyCount, HourlyTime, Rollup
from console.models.searches import SavedSearch

__all__ = ["DoctorReport", "HourlyCount", "HourlyTime", "Rollup", "SavedSearch"]
