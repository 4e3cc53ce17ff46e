"""Run with the packages of packages.txt: an agent's tools are LangChain's, loaded by its adapter for MCP.

python drive.py URL TOKEN
"""

import asyncio
import json
import sys

from langchain_core.messages import ToolCall
from langchain_mcp_adapters.client import MultiServerMCPClient


async def main(url: str, token: str) -> dict[str, object]:
    sandbox = {"transport": "streamable_http", "url": url, "headers": {"Authorization": f"Bearer {token}"}}
    client = MultiServerMCPClient({"sandbox": sandbox})  # type: ignore[dict-item]
    tools = {tool.name: tool for tool in await client.get_tools()}
    # What a model asks for.
    arguments = {"language": "python", "code": "print(sum(range(10)))"}
    message = await tools["run_code"].ainvoke(ToolCall(name="run_code", args=arguments, id="1", type="tool_call"))
    return {
        "tools": sorted(tools),
        "text": message.content[0]["text"],
        "structured": message.artifact["structured_content"],
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
