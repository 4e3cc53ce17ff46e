"""Classes that are generic in the type stubs only, made subscriptable at run time too, and dressed in the theme:
every admin page of the project comes from here."""

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
        # Wide tables scroll in the page's own width; the filters open beside them, not on top of them.
        list_fullwidth = True
        list_filter_submit = True
        warn_unsaved_form = True
        # Where rows come from, said while there are none.
        empty_hint = ""
        # Names with commas between them: a line, not the theme's ten.
        formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}

    class TabularInline(_Subscriptable, admin.TabularInline):
        pass

    class ModelForm(_Subscriptable, forms.ModelForm):
        pass

    class Paginator(_Subscriptable, paginator.Paginator):
        pass
