from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangosGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangosUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from console import permissions
from sandbox_platform.kit.forms import CHECKBOXES
from sandbox_platform.kit.generics import ModelAdmin

admin.site.unregister(User)
admin.site.unregister(Group)

# A user who may change these fields could give themselves more rights than their role has.
ABOVE_ROLES = ("is_superuser",)
NAMES_AND_ROLE = ("username", "usable_password", "password1", "password2", "is_staff", "groups")


class NewUserForm(UserCreationForm):  # type: ignore[misc]
    class Meta(UserCreationForm.Meta):  # type: ignore[misc]
        fields = ("username", "is_staff", "groups")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["is_staff"].initial = True


@admin.register(User)
class UserAdmin(DjangosUserAdmin, ModelAdmin[User]):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "roles", "is_active", "is_superuser", "last_login")
    list_filter = ("groups", "is_active", "is_superuser")
    filter_horizontal = ()
    # Permissions come only from groups, so that one word, the role, says what a person may do.
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Role", {"fields": ("groups", "is_staff", "is_active", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    actions = ("remove_second_factors",)
    add_fieldsets = (
        (
            None,
            {
                "fields": NAMES_AND_ROLE,
                "description": "The group is the role: administrator, operator or auditor. "
                "“Staff status” is required to log in here.",
            },
        ),
    )

    @admin.display(description="Roles")
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all()) or (
            "superuser" if user.is_superuser else "none"
        )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, *ABOVE_ROLES)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and self._may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Users are switched off (“Active”): their name stays that of what they did. A trigger refuses it, too.
        return False

    @admin.action(description="Remove second factors, for who has lost theirs", permissions=["change"])
    def remove_second_factors(self, request: HttpRequest, users: QuerySet[User]) -> None:
        mine = [user for user in users if self._may_touch(request, user)]
        number = len({factor.user_id for factor in Authenticator.objects.filter(user__in=mine)})
        Authenticator.objects.filter(user__in=mine).delete()
        self.message_user(request, f"Second factors of {number} removed.", messages.SUCCESS)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return super().formfield_for_manytomany(db_field, request, **kwargs | {"widget": CHECKBOXES})

    @staticmethod
    def _may_touch(request: HttpRequest, user: Any) -> bool:
        # A user who can set a superuser's password can become that superuser.
        return bool(request.user.is_superuser or user is None or not user.is_superuser)


@admin.register(Group)
class GroupAdmin(DjangosGroupAdmin, ModelAdmin[Group]):
    filter_horizontal = ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Django's own list of permissions makes a query for each of them.
        return ("name", "permissions" if self._may_write(request, obj) else "given")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if self._may_write(request, obj) else ("given",)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if "permissions" in form.base_fields:
            form.base_fields["permissions"].queryset = permissions.offered(obj)  # type: ignore[attr-defined]
        return form

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any) -> Any:
        widget = permissions.PermissionTable()
        return super().formfield_for_manytomany(db_field, request, **kwargs | {"widget": widget})

    @admin.display(description="Permissions")
    def given(self, group: Group) -> Any:
        mine = {str(pk) for pk in group.permissions.values_list("pk", flat=True)}
        return permissions.table(permissions.offered(group), mine)

    def _may_write(self, request: HttpRequest, group: Any) -> bool:
        return self.has_change_permission(request, group) if group else self.has_add_permission(request)
