import { assert, assertEquals, assertThrows } from "@std/assert";
import { LobitError } from "../../src/base/errors.ts";
import { Random } from "../../src/base/random.ts";
import { findChatTemplate, makeTemplate } from "../../src/input/chat_template.ts";
import { mutateText } from "../testing/mutate.ts";
import { pocketText } from "../testing/tokenizers.ts";

const ASK = [{ role: "user", content: "Why?" }];

Deno.test("the pocket model's template writes ChatML", () => {
  const template = findChatTemplate({ name: "pocket", jinja: pocketText("chat_template.jinja") });
  assertEquals(
    template.render(ASK, true),
    "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
  );
  assertEquals(template.render(ASK, false), "<|im_start|>user\nWhy?<|im_end|>\n");
  assert(template.takesParts);
});

Deno.test("a template file wins over the tokenizer config, and that over the built-in one", () => {
  const jinja = "jinja";
  const tokenizerConfig = JSON.stringify({ chat_template: "config" });
  const builtIn = "internvl2_5";
  assertEquals(findChatTemplate({ name: "m", jinja, tokenizerConfig, builtIn }).source, "jinja");
  assertEquals(findChatTemplate({ name: "m", tokenizerConfig, builtIn }).source, "config");
  const built = findChatTemplate({ name: "m", tokenizerConfig: "{}", builtIn });
  assert(built.source.includes("<|im_start|>system"));
  assertThrows(() => findChatTemplate({ name: "m" }), LobitError, "has no chat template");
  assertThrows(
    () => findChatTemplate({ name: "m", builtIn: "toString" }),
    LobitError,
    "only internvl2_5 is built in",
  );
});

Deno.test("the default of several named templates is taken", () => {
  const chat_template = [{ name: "rag", template: "r" }, { name: "default", template: "d" }];
  assertEquals(
    findChatTemplate({ name: "m", tokenizerConfig: JSON.stringify({ chat_template }) }).source,
    "d",
  );
  for (const bad of [[], [{ name: "rag", template: "r" }], 5, { a: 1 }]) {
    const tokenizerConfig = JSON.stringify({ chat_template: bad });
    assertThrows(
      () => findChatTemplate({ name: "m", tokenizerConfig }),
      LobitError,
      "chat_template",
    );
  }
});

Deno.test("the built-in conversation starts with InternVL's system message unless one is given", () => {
  const template = findChatTemplate({ name: "m", builtIn: "internvl2_5" });
  assert(!template.takesParts);
  assertEquals(
    template.render(ASK, true),
    "<|im_start|>system\n你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。<|im_end|>\n" +
      "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
  );
  assertEquals(
    template.render([{ role: "system", content: "Be brief." }, ...ASK], true),
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
  );
});

Deno.test("a template that only takes strings is told from one that takes parts", () => {
  const qwen =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}";
  assert(!makeTemplate(qwen, "m").takesParts);
  assert(!makeTemplate("{% for m in messages %}{{ m.content }}{% endfor %}", "m").takesParts);
  const textOnly =
    "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}";
  assert(!makeTemplate(textOnly, "m").takesParts);
});

Deno.test("a template may use the tokenizer's named tokens and refuse a conversation", () => {
  const template = makeTemplate(
    "{{ bos_token }}{% if messages|length > 1 %}{{ raise_exception('one only') }}{% endif %}",
    "m",
  );
  assertEquals(template.render(ASK, true, { bos_token: "<s>" }), "<s>");
  assertThrows(
    () => template.render([...ASK, ...ASK], true),
    LobitError,
    "m: its chat template failed: one only",
  );
});

Deno.test("hostile templates end in a LobitError, not in a hang or exhausted memory", () => {
  const loop = (body: string) =>
    `{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(60) %}${body}{% endfor %}`;
  const hostile = [
    "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}{{ a }}{% endfor %}{% endfor %}{% endfor %}",
    "{{ range(1000000000) | length }}",
    "{{ range(0, 10, 0) }}",
    loop("{% set ns.x = ns.x + ns.x %}"),
    loop("{% set ns.x = ns.x | replace('a', ns.x) %}"),
    loop("{% set ns.x = [ns.x, ns.x] %}") + "{{ ns.x | tojson }}",
    loop("{% set ns.x = {'a': ns.x, 'b': ns.x} %}") + "{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns | tojson }}",
    "{{ 'a' | indent(999999999) }}",
    "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "{% if %}",
    "{{ '".repeat(3),
    "{{" + "(".repeat(50_000),
    "{{" + "[".repeat(100_000) + "}}",
    "x".repeat(300_000),
  ];
  for (const source of hostile) {
    assertThrows(
      () => makeTemplate(source, "m").render(ASK, true),
      LobitError,
      "m: its chat template failed",
    );
  }
});

Deno.test("500 damaged templates end in a LobitError or text", () => {
  const random = new Random(5);
  const source = pocketText("chat_template.jinja");
  let rendered = 0;
  for (let i = 0; i < 500; i++) {
    try {
      const text = makeTemplate(mutateText(source, random), "m").render(ASK, true);
      assertEquals(typeof text, "string");
      rendered++;
    } catch (error) {
      assert(error instanceof LobitError, `not a LobitError: ${error}`);
    }
  }
  assert(rendered > 20 && rendered < 480, `${rendered} of 500 rendered`);
});
