// Sends two right rows, then a wrong one, to the server whose address it is given; prints what it understood.
import createClient from "openapi-fetch";
import type { components, paths } from "./headrace.js";

type Row = components["schemas"]["late.row"];

const client = createClient<paths>({ baseUrl: process.argv[2] });

const rows: Row[] = [{ minutes: 45, carrier: "UA" }, { carrier: "AA" }];
const { data, error } = await client.POST("/models/late/predict", { body: { rows } });
if (error) throw new Error(`${error.error} ${error.todo}`);
const predictions: boolean[] = data.predictions.map((answer) => answer.prediction);
const shares: (number | undefined)[] = data.predictions.map((answer) => answer.probabilities?.true);

const unchecked: Row = JSON.parse('{ "minutes": "long", "carrier": "UA" }');
const refusal = await client.POST("/models/late/predict", { body: unchecked });
const field: string | undefined = refusal.error?.field;
const todo: string | undefined = refusal.error?.todo;

console.log(JSON.stringify({ predictions, shares, refusal: { status: refusal.response.status, field, todo } }));
