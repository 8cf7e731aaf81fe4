// Stands in for jsr:@std/cli where only the npm registry can be reached: the same code, from npm.
// @ts-types="./mod.d.ts"
export { parseArgs } from "npm:deno-std@1.4.0/cli/parse_args.js";
