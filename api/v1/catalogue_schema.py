"""Response schemas of runtimes."""

from rest_framework import serializers

from executions.representation import LimitsSchema
from runtimes.models import CodePolicy, Network, Runner, Runtime
from runtimes.validators import MODES
from sandbox_platform.kit.schemas import AnyJson, Names, Schema, Texts, computed
from seccomp_profiles.models import UNCONFINED


def _profile(runtime: Runtime) -> str:
    return runtime.seccomp_profile.name if runtime.seccomp_profile else UNCONFINED


class RuntimeSchema(Schema):
    slug = serializers.CharField()
    name = serializers.CharField()
    aliases = Names()
    enabled = serializers.BooleanField()
    image = serializers.CharField()
    live_image = serializers.CharField(help_text="The image that runs get: the live build's, or `image`.")
    source_file = serializers.CharField()
    runner = serializers.ChoiceField(Runner.choices)
    modes = serializers.ListField(child=serializers.ChoiceField(MODES))
    compile_command = serializers.CharField()
    run_command = serializers.CharField()
    function_command = serializers.CharField()
    packages = AnyJson()
    preload = Names()
    preload_when_idle = Names()
    revision = serializers.IntegerField()
    code_policy = serializers.ChoiceField(CodePolicy.choices)
    ragflow_code_policy = serializers.ChoiceField(CodePolicy.choices)
    disabled_rules = Names()
    pool_min = serializers.IntegerField()
    pool_max = serializers.IntegerField()
    network = serializers.ChoiceField(Network.choices)
    seccomp_profile = computed(serializers.CharField(), _profile)
    environment = Texts(allow_null=True, help_text="null if the client may not use the runtime.")
    limits = computed(LimitsSchema(), lambda runtime: runtime.limits.as_dict())


class ManifestDifferenceSchema(Schema):
    field = serializers.CharField()
    row = AnyJson()
    manifest = AnyJson()


class ManifestSchema(Schema):
    has_manifest = serializers.BooleanField()
    differences = ManifestDifferenceSchema(many=True)
    smoke = AnyJson(help_text="The runtime's present smoke programs.")
