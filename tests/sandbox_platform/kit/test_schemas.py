from dataclasses import dataclass, field

import pytest
from rest_framework import serializers

from sandbox_platform.kit.schemas import Schema, Stored, computed


@dataclass
class Person:
    name: str
    boss: "Person | None" = None
    team: list["Person"] = field(default_factory=list)


class NameSchema(Schema):
    name = serializers.CharField()


class PersonSchema(NameSchema):
    boss_name = serializers.CharField(source="boss.name")
    initial = computed(serializers.CharField(), lambda person: person.name[0])
    boss = NameSchema(allow_null=True)
    team = NameSchema(many=True)


EVE = Person("Eve", boss=Person("Ann"), team=[Person("Bob"), Person("Cid")])


def test_each_field_gets_its_value_as_it_is_declared() -> None:
    assert PersonSchema.dump(EVE) == {
        "name": "Eve",
        "boss_name": "Ann",
        "initial": "E",
        "boss": {"name": "Ann"},
        "team": [{"name": "Bob"}, {"name": "Cid"}],
    }


def test_an_answer_has_the_order_of_the_declaration() -> None:
    assert list(PersonSchema.dump(EVE)) == list(PersonSchema().fields)


def test_a_path_ends_where_it_meets_none() -> None:
    shown = PersonSchema.dump(Person("Ann"))
    assert (shown["boss_name"], shown["boss"]) == (None, None)


def test_a_given_value_takes_the_place_of_the_rows() -> None:
    assert NameSchema.dump(EVE, name="Zoe") == {"name": "Zoe"}


def test_a_name_that_is_not_declared_is_refused() -> None:
    with pytest.raises(TypeError, match="NameSchema has no field age"):
        NameSchema.dump(EVE, age=3)


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(AttributeError):
        PersonSchema.dump(name="Eve")


def test_what_is_stored_is_shown_as_it_is() -> None:
    class Old(Stored):
        added_later = serializers.IntegerField()

    class Row(Schema):
        team = Old(many=True)

    assert Row.dump(Person("Eve", team=[{"old": 1}])) == {"team": [{"old": 1}]}  # type: ignore[list-item]
