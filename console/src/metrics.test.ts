import { expect, test } from "vitest";
import { below, figuresOf, together } from "./metrics";

const TEXT = `# TYPE superagent_call_seconds histogram
superagent_call_seconds_bucket{operation="files.read",status="done",worker="0",le="0.001"} 3
superagent_call_seconds_bucket{operation="files.read",status="done",worker="0",le="0.005"} 9
superagent_call_seconds_bucket{operation="files.read",status="done",worker="0",le="+Inf"} 10
superagent_call_seconds_count{operation="files.read",status="done",worker="0"} 10
superagent_call_seconds_sum{operation="files.read",status="done",worker="0"} 0.123456
# TYPE superagent_audit_healthy gauge
superagent_audit_healthy{worker="0"} 1
`;

test("the server's own text is read", () => {
  const found = figuresOf(TEXT);
  expect(found.gauges).toEqual({ audit_healthy: 1 });
  expect(found.worker).toBe("0");
  const [read] = found.calls;
  expect(read).toMatchObject({ operation: "files.read", status: "done", count: 10, seconds: 0.123456 });
  expect(read && [below(read, 0.3), below(read, 0.5), below(read, 0.95)]).toEqual([0.001, 0.005, Infinity]);
});

test("workers add up", () => {
  const [both] = together([figuresOf(TEXT), figuresOf(TEXT.replaceAll('worker="0"', 'worker="1"'))]);
  expect(both?.count).toBe(20);
  expect(both?.within.map((one) => one[1])).toEqual([6, 18, 20]);
});

test("whoever may not read the audit gets one figure", () => {
  expect(figuresOf("superagent_up 1\n")).toEqual({ worker: "", calls: [], gauges: { up: 1 } });
});
