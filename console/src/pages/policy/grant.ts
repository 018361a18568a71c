// A grant as the form edits it: the very JSON that is sent, so that what the form does not know stays in it.

import { isObject, type Json } from "../../api";

export type Grant = { [name: string]: Json };

export const NEW: Grant = { effect: "allow", subject: "", operations: [] };

/** Give the texts at a place such as `where.paths`. */
export function many(grant: Grant, path: string): string[] {
  const found = at(grant, path);
  return Array.isArray(found) ? found.filter((one): one is string => typeof one === "string") : [];
}

/** Give what stands at a place, undefined where nothing does. */
export function at(grant: Grant, path: string): Json | undefined {
  const [first, then] = path.split(".") as [string, string?];
  const found = grant[first];
  if (then === undefined) return found;
  return isObject(found) ? found[then] : undefined;
}

/** Give the grant with something else at a place; nothing, an empty text and an empty list leave no trace in it. */
export function put(grant: Grant, path: string, value: Json | undefined): Grant {
  const [first, then] = path.split(".") as [string, string?];
  const { [first]: before, ...rest } = grant;
  const nothing = (one: Json | undefined): boolean => one === undefined || one === "" || (Array.isArray(one) && !one.length) || (isObject(one) && !Object.keys(one).length);
  const next = then === undefined ? value : put(isObject(before) ? before : {}, then, value);
  if (nothing(next) && !(first in NEW)) return rest;
  return { ...rest, [first]: next ?? "" };
}

/** Read a grant that an address carries; null for what is none. */
export function grantIn(address: unknown): Grant | null {
  if (isObject(address as Json)) return address as Grant; // the router reads JSON by itself
  if (typeof address !== "string") return null;
  try {
    const found = JSON.parse(address) as Json;
    return isObject(found) ? found : null;
  } catch {
    return null;
  }
}
