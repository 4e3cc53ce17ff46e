// The suite imports `globSync` of Node.js 22, which the scenarios for servers never call. Debian 13 has Node.js 20.
import { register } from "node:module";

const fs = 'export * from "node:fs"; export { default } from "node:fs"; export const globSync = () => [];';
const hooks = `export function resolve(name, context, next) {
  return name === "fs" && context.parentURL?.includes("/conformance/")
    ? { url: ${JSON.stringify("data:text/javascript," + encodeURIComponent(fs))}, shortCircuit: true }
    : next(name, context);
}`;
register("data:text/javascript," + encodeURIComponent(hooks));
