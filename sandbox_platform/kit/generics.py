"""Base classes of every admin page: Django's, in the theme's variant.

The type stubs make these classes generic. Here they are subscriptable at run time too.
"""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core import paginator

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as ModelAdmin
    from django.contrib.admin import TabularInline as TabularInline
    from django.contrib.admin.helpers import ActionForm as ActionForm
    from django.core.paginator import Paginator as Paginator
    from django.forms import ModelForm as ModelForm
else:
    from django.contrib.postgres.fields import ArrayField
    from unfold import admin
    from unfold.forms import ActionForm as ActionForm
    from unfold.widgets import UnfoldAdminTextInputWidget

    class _Subscriptable:
        def __class_getitem__(cls, item: Any) -> type:
            return cls

    class ModelAdmin(_Subscriptable, admin.ModelAdmin):
        # Wide tables scroll within the page's width. Filters open beside the table, not above it.
        list_fullwidth = True
        list_filter_submit = True
        warn_unsaved_form = True
        # Shown while the list is empty: where its rows come from.
        empty_hint = ""
        # Comma-separated names fit on one line; the theme's widget has ten.
        formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}

    class TabularInline(_Subscriptable, admin.TabularInline):
        pass

    class ModelForm(_Subscriptable, forms.ModelForm):
        pass

    class Paginator(_Subscriptable, paginator.Paginator):
        pass
