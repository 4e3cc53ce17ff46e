"""GET /api/v1/nodes: the hosts that run programs."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from api.v1 import schema
from api.v1.base import ApiView
from clients.permissions import MayAudit
from sandbox_platform.kit import liveness
from sandbox_platform.kit.schemas import Schema, computed
from sandboxes.models import EngineName, Node


class NodeSchema(Schema):
    name = serializers.CharField()
    draining = serializers.BooleanField(help_text="true: it takes no new run, and keeps no pool.")
    keeper = computed(
        serializers.BooleanField(help_text="Whether its keeper is alive."),
        lambda node: liveness.keeper_alive(node.name),
    )
    worker = computed(
        serializers.BooleanField(help_text="Whether a worker of it is alive."),
        lambda node: liveness.workers_alive(node.name) > 0,
    )
    seen_at = serializers.DateTimeField(help_text="When its keeper last recorded it: once a minute.")
    workers = serializers.IntegerField(allow_null=True, help_text="Executions that run there at the same time.")
    engine = serializers.ChoiceField(EngineName.choices, allow_blank=True)
    version = serializers.CharField(help_text="Of the platform.")
    gvisor_version = serializers.CharField()
    disk_free_bytes = serializers.IntegerField(allow_null=True, help_text="On its fullest disk.")
    disk_total_bytes = serializers.IntegerField(allow_null=True)


class NodesSchema(Schema):
    results = NodeSchema(many=True)


class NodesView(ApiView):
    permission_classes = [MayAudit]
    http_method_names = ["get", "options"]

    @extend_schema(
        summary="List nodes",
        operation_id="list_nodes",
        description="Auditors and administrators only. A node that has been silent for 7 days is left out, unless it "
        "is being drained. See docs/hosts.md.",
        responses=schema.answers({200: NodesSchema}, 403),
        tags=["Nodes"],
    )
    def get(self, request: Request) -> Response:
        results = [NodeSchema.dump(node) for node in Node.objects.order_by("name")]
        return Response(NodesSchema.dump(results=results))
