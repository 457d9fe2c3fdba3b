// Uses the service from another language, from the .proto files alone:
//   node check.mjs ADDRESS
// Adds a stream, asks and reads the streamed answer, subscribes, arms a rule, receives its alert.
import { fileURLToPath } from "node:url";
import path from "node:path";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "..", "proto");
const files = ["stream", "query", "rule", "event"].map((name) => `streamvlm/v1/${name}_service.proto`);
const definition = loader.loadSync(files, { includeDirs: [root], longs: Number, oneofs: true, arrays: true });
const { v1 } = grpc.loadPackageDefinition(definition).streamvlm;
const address = process.argv[2];
const credentials = grpc.credentials.createInsecure();
const [streams, questions, rules, events] = [
  v1.StreamService, v1.QueryService, v1.RuleService, v1.EventService,
].map((Service) => new Service(address, credentials));

const call = (client, method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, (error, response) => (error ? reject(error) : resolve(response))),
  );

function check(holds, what) {
  if (!holds) throw new Error(`not so: ${what}`);
  console.log(`ok ${what}`);
}

async function main() {
  const source = "synthetic:moving?realtime=1&seconds=600";
  const { stream } = await call(streams, "createStream", { streamId: "node", source });
  check(stream.streamId === "node", "a stream is added");
  const refused = await call(streams, "createStream", { streamId: "NODE", source }).catch((e) => e);
  check(refused.code === grpc.status.INVALID_ARGUMENT, "a wrong id is INVALID_ARGUMENT");

  const subscription = events.subscribe({ streamIds: ["node"] });
  const alert = new Promise((resolve, reject) => {
    subscription.on("data", (response) => response.event === "alert" && resolve(response.alert));
    subscription.on("error", reject);
  });
  await call(rules, "createRule", {
    rule: { ruleId: "node", text: "Is it?", enterThreshold: -1000, leaveThreshold: -2000 },
  });

  let seen = 0;
  while (!seen) {
    const { stream: now } = await call(streams, "getStream", { streamId: "node" });
    seen = now.memory.clipsEncoded;
  }
  const kinds = [];
  let text = "";
  let whole = "";
  for await (const response of questions.ask({ streamId: "node", question: "What is there?" })) {
    kinds.push(response.event);
    if (response.event === "token") text += response.token.text;
    if (response.event === "finished") whole = response.finished.text;
  }
  check(kinds[0] === "started" && kinds.at(-1) === "finished", "an answer starts and finishes");
  check(kinds.includes("token") && text === whole, `its tokens are its text: ${JSON.stringify(whole)}`);

  const told = await alert;
  check(told.state === 2 || told.state === "ALERT_STATE_FIRING", `an alert arrives: ${told.alertId}`);
  subscription.on("error", () => {});
  subscription.cancel();
  await call(rules, "deleteRule", { ruleId: "node" });
  await call(streams, "deleteStream", { streamId: "node" });
  check((await call(streams, "listStreams", {})).streams.length === 0, "the stream is removed");
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);
