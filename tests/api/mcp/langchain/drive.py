"""Run with the packages of tests/examples: an agent's tools are LangChain's, loaded by its adapter for MCP.

python drive.py SERVERS
"""

import asyncio
import json
import sys
from typing import Any

from langchain_core.messages import ToolCall
from langchain_mcp_adapters.client import MultiServerMCPClient


async def found(client: MultiServerMCPClient, server: str) -> dict[str, Any]:
    tools = {tool.name: tool for tool in await client.get_tools(server_name=server)}
    # What a model asks for.
    arguments = {"language": "python", "code": "print(sum(range(10)))"}
    message = await tools["run_code"].ainvoke(ToolCall(name="run_code", args=arguments, id="1", type="tool_call"))
    return {
        "tools": sorted(tools),
        "text": message.content[0]["text"],
        "structured": message.artifact["structured_content"],
    }


async def main(servers: dict[str, Any]) -> dict[str, Any]:
    client = MultiServerMCPClient(servers)
    return {server: await found(client, server) for server in servers}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(sys.argv[1])))))
