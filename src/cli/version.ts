// The version that `lobit --version` prints; a test holds it to deno.json's.

/** Version of this package. */
export const VERSION = "0.1.0";
