// What must not compile. Each mark names the error that the line below it gives.
import createClient from "openapi-fetch";
import type { components, paths } from "./headrace.js";

type Row = components["schemas"]["late.row"];
type Answer = components["schemas"]["late.reply"]["predictions"][number];

const client = createClient<paths>();
const reply = await client.POST("/models/late/predict", { body: { carrier: "UA" } });
declare const answer: Answer;

// @ts-expect-error TS2322: a text where a number must be
await client.POST("/models/late/predict", { body: { rows: [{ minutes: "long", carrier: "UA" }] } });
// @ts-expect-error TS2322: the same in a bare row
await client.POST("/models/late/predict", { body: { minutes: "long", carrier: "UA" } });
// @ts-expect-error TS2322: a required field is missing
await client.POST("/models/late/predict", { body: { rows: [{ minutes: 12 }] } });
// @ts-expect-error TS2322: the same in a bare row
await client.POST("/models/late/predict", { body: { minutes: 12 } });
// @ts-expect-error TS2322: null where a text must be
await client.POST("/models/late/predict", { body: { rows: [{ minutes: 12, carrier: null }] } });
// @ts-expect-error TS2554: no rows at all
await client.POST("/models/late/predict");
// @ts-expect-error TS2345: a model that does not answer here
await client.POST("/models/early/predict", { body: { carrier: "UA" } });
// @ts-expect-error TS2554: the wrong method
await client.GET("/models/late/predict");
// @ts-expect-error TS2353: a field that the model does not have
export const row: Row = { minutes: 12, carrier: "UA", weather: "fog" };
// @ts-expect-error TS2322: the prediction is no number
export const prediction: number = answer.prediction;
// @ts-expect-error TS2339: a class that the model does not have
console.log(answer.probabilities?.perhaps);
// @ts-expect-error TS18048: the reply may be a refusal
console.log(reply.data.predictions);
// @ts-expect-error TS2339: a field that no refusal has
console.log(reply.error?.reason);
