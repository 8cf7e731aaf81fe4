// The command `lobit`: runs as soon as it is loaded, in Deno and in Node.
import { hostConsole } from "./console.ts";
import { main } from "./main.ts";

const console = hostConsole();
console.close(await main(console.args, console));
