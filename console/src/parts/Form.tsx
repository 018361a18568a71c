import { useId, useState } from "react";
import type { Json } from "../api";
import { Prose } from "./Prose";
import { Text } from "./Text";
import { plainly } from "./visible";

export interface Schema {
  type?: string;
  title?: string;
  description?: string;
  default?: Json;
  enum?: Json[];
  const?: Json;
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  minimum?: number;
  maximum?: number;
  pattern?: string;
}

export type Kind = "text" | "long" | "number" | "whole" | "switch" | "choice" | "lines" | "json";

export interface Field {
  name: string;
  kind: Kind;
  required: boolean;
  schema: Schema;
}

/** Give the fields of an input. What is beyond plain values, lists of texts and choices is raw JSON. */
export function fieldsOf(schema: Schema): Field[] {
  return Object.entries(schema.properties ?? {}).map(([name, one]) => {
    const plain = plainOf(one);
    return { name, kind: kindOf(name, plain), required: schema.required?.includes(name) ?? false, schema: plain };
  });
}

function plainOf(schema: Schema): Schema {
  const some = schema.anyOf?.filter((one) => one.type !== "null");
  return some?.length === 1 ? { ...schema, ...some[0] } : schema;
}

function kindOf(name: string, schema: Schema): Kind {
  if (schema.enum?.every((one) => typeof one === "string")) return "choice";
  if (schema.type === "boolean") return "switch";
  if (schema.type === "integer") return "whole";
  if (schema.type === "number") return "number";
  if (schema.type === "array" && schema.items?.type === "string" && !schema.items.enum) return "lines";
  if (schema.type === "string") return /content|command|code|sql|text|diff|stdin/.test(name) ? "long" : "text";
  return "json";
}

type Values = { [name: string]: Json };

/** A form of an operation's input; a field that is left alone is not sent. */
export function Form({ of, value, set }: { of: Schema; value: Values; set: (value: Values) => void }) {
  const [raw, setRaw] = useState(false);
  const fields = fieldsOf(of);
  const first = fields.filter((one) => one.required), rest = fields.filter((one) => !one.required);
  const change = (name: string, to: Json | undefined) => {
    const { [name]: _, ...others } = value;
    set(to === undefined ? others : { ...others, [name]: to });
  };
  const draw = (one: Field) => <Entry key={one.name} of={one} value={value[one.name]} change={(to) => change(one.name, to)} />;
  if (!fields.length) return <p className="meta">It takes no input.</p>;
  return (
    <fieldset>
      <legend>Input</legend>
      <label className="switch"><input type="checkbox" checked={raw} onChange={(event) => setRaw(event.target.checked)} /> as JSON</label>
      {raw ? <Raw value={value} set={(to) => set(to as Values)} label="The whole input" /> : <>
        {first.map(draw)}
        {rest.length > 0 && (first.length ? <details><summary>{rest.length} more</summary>{rest.map(draw)}</details> : rest.map(draw))}
      </>}
    </fieldset>
  );
}

function Entry({ of, value, change }: { of: Field; value: Json | undefined; change: (to: Json | undefined) => void }) {
  const id = useId();
  const schema = of.schema;
  const help = [schema.description, schema.default !== undefined && schema.default !== null && schema.default !== "" ? `default ${JSON.stringify(schema.default)}` : ""].filter(Boolean).join("; ");
  const common = { id, required: of.required, "aria-describedby": help ? `${id}-help` : undefined };
  const text = typeof value === "string" ? value : "";
  const typed = (to: string) => change(to === "" && !of.required ? undefined : to);
  return (
    <div className="field">
      <label htmlFor={id}><code><Text of={of.name} /></code>{of.required && <span aria-hidden="true"> *</span>}</label>
      {of.kind === "switch" ? <input {...common} required={false} type="checkbox" checked={value === undefined ? schema.default === true : value === true} onChange={(event) => change(event.target.checked)} />
        : of.kind === "choice" ? <select {...common} value={text} onChange={(event) => typed(event.target.value)}><option value="" />{schema.enum?.map((one) => <option key={String(one)} value={String(one)}>{plainly(String(one))}</option>)}</select>
        : of.kind === "whole" || of.kind === "number" ? <input {...common} type="number" step={of.kind === "whole" ? 1 : "any"} min={schema.minimum} max={schema.maximum} value={typeof value === "number" ? value : ""} onChange={(event) => change(event.target.value === "" ? undefined : event.target.valueAsNumber)} />
        : of.kind === "long" ? <textarea {...common} rows={4} value={text} onChange={(event) => typed(event.target.value)} />
        : of.kind === "lines" ? <textarea {...common} rows={2} placeholder="one a line" value={Array.isArray(value) ? value.join("\n") : ""} onChange={(event) => change(event.target.value === "" ? undefined : event.target.value.split("\n"))} />
        : of.kind === "json" ? <Raw value={value ?? null} set={(to) => change(to === null ? undefined : to)} label={plainly(of.name)} id={id} />
        : <input {...common} type="text" value={text} onChange={(event) => typed(event.target.value)} />}
      {help && <p id={`${id}-help`} className="meta"><Prose of={help} /></p>}
    </div>
  );
}

function Raw({ value, set, label, id }: { value: Json; set: (value: Json) => void; label: string; id?: string }) {
  const [text, type] = useState(() => (value === null ? "" : JSON.stringify(value, null, 2)));
  const [wrong, fault] = useState("");
  return (
    <>
      <textarea id={id} aria-label={label} aria-invalid={wrong !== ""} rows={5} spellCheck={false} value={text} onChange={(event) => {
        type(event.target.value);
        try {
          set(event.target.value.trim() === "" ? null : (JSON.parse(event.target.value) as Json));
          fault("");
        } catch (bug) {
          fault(bug instanceof Error ? bug.message : "this is no JSON");
        }
      }} />
      {wrong && <p className="warning" role="alert">{wrong}</p>}
    </>
  );
}
