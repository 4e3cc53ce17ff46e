"""Base classes of every admin page: Django's, in the theme's variant.

The type stubs make these classes generic. Here they are subscriptable at run time too.
"""

import functools
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from django import forms
from django.core import paginator
from django.http import HttpResponseRedirect, QueryDict

from sandbox_platform.kit.units import exact_of, unit_of

# Begins the name under which the form of a list's filters sends a choice: the parameters of the choice, encoded as a
# query. Each filter has a name of its own: the theme's script drops empty fields by name.
CHOSEN = "_filter."


def with_choices(given: QueryDict) -> QueryDict:
    """Return the query of a list after its filters' form was sent: the choices spelt out, without what is empty."""
    query = given.copy()
    choices = []
    for name, values in list(query.lists()):
        if name.startswith(CHOSEN):
            choices += values
        if name.startswith(CHOSEN) or name in ("p", "e") or not any(values):
            del query[name]
    for choice in choices:
        for name, value in parse_qsl(str(choice), keep_blank_values=True):
            query[name] = value
    return query


if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin as ModelAdmin
    from django.contrib.admin import TabularInline as TabularInline
    from django.contrib.admin.helpers import ActionForm as ActionForm
    from django.core.paginator import Paginator as Paginator
    from django.forms import ModelForm as ModelForm
    from unfold.views import ChangeList as ChangeList
else:
    from django.contrib.admin.options import IncorrectLookupParameters
    from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
    from django.contrib.postgres.fields import ArrayField
    from unfold import admin, views
    from unfold.forms import ActionForm as ActionForm
    from unfold.widgets import UnfoldAdminTextInputWidget

    def _with_unit(name, contents):
        return exact_of(name, int(contents)) if contents.isascii() and contents.isdigit() else contents

    def _columns(model):
        """Return every name by which a lookup of the model's rows may begin."""
        fields = model._meta.get_fields()
        return {"pk"} | {field.name for field in fields} | {getattr(field, "attname", "") for field in fields}

    class _Subscriptable:
        def __class_getitem__(cls, item: Any) -> type:
            return cls

    class ChangeList(views.ChangeList):
        def get_results(self, request):
            """Count what the page lists, if it lists all: rows come and go between Django's count and its reading."""
            super().get_results(request)
            if not self.multi_page or (self.show_all and self.can_show_all):
                self.result_list = list(self.result_list)
                self.result_count = len(self.result_list)

    class ModelAdmin(_Subscriptable, admin.ModelAdmin):
        # Wide tables scroll within the page's width. Filters open beside the table, not above it.
        list_fullwidth = True
        list_filter_submit = True
        warn_unsaved_form = True
        # Shown while the list is empty: where its rows come from.
        empty_hint = ""
        # Columns that pages of ours filter by, beside those of list_filter and date_hierarchy.
        linked_lookups: tuple[str, ...] = ()

        def lookup_allowed(self, lookup, value, request):
            """Allow filters only by columns that the list offers.

            Django allows every column of the table. Whoever may see the list could then find a hash or a hidden
            value letter by letter: ?token_sha256__startswith=a.
            """
            column = lookup.split("__", 1)[0]
            if column in _columns(self.model) and column not in self._offered(request):
                return False
            return super().lookup_allowed(lookup, value, request)

        def _offered(self, request):
            filters = [
                item[0] if isinstance(item, list | tuple) else item for item in self.get_list_filter(request)
            ]
            names = [item if isinstance(item, str) else getattr(item, "parameter_name", "") for item in filters]
            return {name.split("__", 1)[0] for name in (*names, *self.linked_lookups, self.date_hierarchy or "")}

        def __init__(self, model, admin_site):
            super().__init__(model, admin_site)
            # Who may only look is shown values, not the form's fields, which have units.
            quantities = {
                field.name: functools.partial(_with_unit, field.name)
                for field in model._meta.concrete_fields
                if unit_of(field.name)
            }
            self.readonly_preprocess_fields = quantities | self.readonly_preprocess_fields

        def get_changelist(self, request, **kwargs):
            return ChangeList

        def formfield_for_dbfield(self, db_field, request, **kwargs):
            """Offer no "+" beside a choice: what was typed would be lost with the page that it leads to."""
            field = super().formfield_for_dbfield(db_field, request, **kwargs)
            if isinstance(field and field.widget, RelatedFieldWidgetWrapper):
                field.widget.can_add_related = False
            return field

        def changelist_view(self, request, extra_context=None):
            if any(name.startswith(CHOSEN) for name in request.GET):
                return HttpResponseRedirect(f"{request.path}?{with_choices(request.GET).urlencode()}")
            return super().changelist_view(request, extra_context)

        def get_changelist_instance(self, request):
            try:
                return super().get_changelist_instance(request)
            except (OverflowError, ValueError) as e:  # a date beyond the first or the last year
                raise IncorrectLookupParameters from e

        # Comma-separated names fit on one line; the theme's widget has ten.
        formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}

    class TabularInline(_Subscriptable, admin.TabularInline):
        pass

    class ModelForm(_Subscriptable, forms.ModelForm):
        pass

    class Paginator(_Subscriptable, paginator.Paginator):
        pass
