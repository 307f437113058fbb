// Asks the providers' own JavaScript packages whether deliveries are genuine, at the present time.
//
// Reads one JSON object a line {preset, package, headers: {lower-case name: value}, body (base64), url, secret} from
// standard input and writes {accepted, version} for each. Run through make_vectors.py, with NODE_PATH at the packages.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import path from "node:path";

const root = process.env.NODE_PATH;
const require = createRequire(path.join(root, "index.js"));
const importFile = (name) => import(path.join(root, name));

const version = (name) => JSON.parse(readFileSync(path.join(root, name, "package.json"), "utf8")).version;

const accepts = {
  hygraph: async (d) => require("@hygraph/utils").verifyWebhookSignature({
    rawPayload: d.text, signature: d.headers["gcms-signature"], secret: d.secret,
  }),
  github: async (d) => (await importFile("@octokit/webhooks-methods/dist-node/index.js")).verify(d.secret, d.text, d.headers["x-hub-signature-256"]),
  shopify: async (d) => {
    require("@shopify/shopify-api/adapters/node");
    const { shopifyApi, ApiVersion, LogSeverity } = require("@shopify/shopify-api");
    const shopify = shopifyApi({
      apiKey: "key", apiSecretKey: d.secret, hostName: "hooks.example.com", isEmbeddedApp: false, scopes: [],
      apiVersion: Object.values(ApiVersion).at(-1), logger: { level: LogSeverity.Error, log: () => {} },
    });
    const rawRequest = { headers: d.headers, method: "POST", url: "/v1/shopify" };
    return (await shopify.webhooks.validate({ rawBody: d.text, rawRequest, rawResponse: {} })).valid;
  },
  notion: (d) => require("@notionhq/client").verifyWebhookSignature({
    body: d.text, signature: d.headers["x-notion-signature"], verificationToken: d.secret }),
  linear: (d) => {
    const { LinearWebhookClient } = require("@linear/sdk/webhooks");
    const at = JSON.parse(d.text).webhookTimestamp;
    return new LinearWebhookClient(d.secret).verify(d.body, d.headers["linear-signature"], at);
  },
  sanity: (d) => require("@sanity/webhook").isValidSignature(d.text, d.headers["sanity-webhook-signature"], d.secret),
  "coinbase-commerce": (d) => {
    require("coinbase-commerce-node").Webhook.verifySigHeader(d.text, d.headers["x-cc-webhook-signature"], d.secret);
    return true;
  },
  braintree: async (d) => {
    const braintree = require("braintree");
    const gateway = new braintree.BraintreeGateway({
      environment: braintree.Environment.Sandbox, merchantId: "m", publicKey: "key", privateKey: d.secret.split("|").at(-1) });
    const form = new URLSearchParams(d.text);
    return Boolean(await gateway.webhookNotification.parse(form.get("bt_signature"), form.get("bt_payload")));
  },
  "dropbox-sign": (d) => {
    const { EventCallbackHelper, EventCallbackRequest } = require("@dropbox/sign");
    const json = d.text.slice(d.text.indexOf("{"), d.text.lastIndexOf("}") + 1);
    return EventCallbackHelper.isValid(d.secret, EventCallbackRequest.init(JSON.parse(json)));
  },
  box: (d) => require(path.join(root, "box-node-sdk/lib/managers/webhooks.js")).WebhooksManager.validateMessage(
    d.text, d.headers, d.secret, { secondaryKey: d.secret }),
  livekit: async (d) => {
    const { WebhookReceiver } = require("livekit-server-sdk");
    return Boolean(await new WebhookReceiver("weir", d.secret).receive(d.text, d.headers.authorization));
  },
  cashfree: (d) => {
    const { Cashfree, CFEnvironment } = require("cashfree-pg");
    const client = new Cashfree(CFEnvironment.SANDBOX, "id", d.secret, undefined, undefined, undefined, false);
    return Boolean(client.PGVerifyWebhookSignature(
      d.headers["x-webhook-signature"], d.text, d.headers["x-webhook-timestamp"]));
  },
  mux: async (d) => {
    const Mux = require("@mux/mux-node").default;
    const mux = new Mux({ tokenId: "id", tokenSecret: "secret", webhookSecret: d.secret });
    await mux.webhooks.verifySignature(d.text, d.headers, d.secret);
    return true;
  },
  twitch: async (d) => {
    const { EventSubHttpBase } = await importFile("@twurple/eventsub-http/lib/EventSubHttpBase.js");
    const h = (name) => d.headers[`twitch-eventsub-message-${name}`];
    return EventSubHttpBase.prototype._verifyData.call({ _secret: d.secret }, h("id"), h("timestamp"), d.text, h("signature"));
  },
  onfido: (d) => {
    const { WebhookEventVerifier } = require("@onfido/api");
    return Boolean(new WebhookEventVerifier(d.secret).readPayload(d.body, d.headers["x-sha2-signature"]));
  },
  webflow: (d) => require("webflow-api/dist/wrapper/WebhooksClient.js").Client.prototype.verifySignature(
    { headers: d.headers, body: d.text, secret: d.secret }),
  contentful: (d) => {
    const { verifyRequest } = require("@contentful/node-apps-toolkit");
    const path = new URL(d.url).pathname;
    return verifyRequest(d.secret, { method: "POST", path, headers: d.headers, body: d.text }, 30);
  },
  elevenlabs: async (d) => {
    const { ElevenLabsClient } = require("@elevenlabs/elevenlabs-js");
    const client = new ElevenLabsClient({ apiKey: "none" });
    return Boolean(await client.webhooks.constructEvent(d.text, d.headers["elevenlabs-signature"], d.secret));
  },
  replicate: (d) => {
    const h = (name) => d.headers[`webhook-${name}`];
    return require("replicate").validateWebhook({
      id: h("id"), timestamp: h("timestamp"), signature: h("signature"), body: d.text, secret: d.secret });
  },
  polar: (d) => {
    const { validateEvent, WebhookVerificationError } = require("@polar-sh/sdk/webhooks.js");
    try {
      validateEvent(d.text, d.headers, d.secret);
    } catch (error) {
      if (error instanceof WebhookVerificationError) throw error; // any other: the payload did not fit its schema
    }
    return true;
  },
  clerk: async (d) => {
    const { verifyWebhook } = require("@clerk/backend/webhooks");
    const request = new Request(d.url, { method: "POST", headers: d.headers, body: d.text });
    return Boolean(await verifyWebhook(request, { signingSecret: d.secret }));
  },
  "aws-sns": (d) => new Promise((resolve) => {
    const Validator = require("sns-validator");
    require("node:https").get = (_url, answer) => {
      const stream = new (require("node:events").EventEmitter)();
      stream.statusCode = 200;
      answer(stream);
      stream.emit("data", Buffer.from(d.secret.slice(d.secret.indexOf("\n") + 1)));
      stream.emit("end");
      return stream;
    };
    new Validator().validate(JSON.parse(d.text), (error) => resolve(!error));
  }),
  "standard-webhooks": (d) => {
    new (require("standardwebhooks").Webhook)(d.secret).verify(d.text, d.headers);
    return true;
  },
};

// What a package signs itself, as headers.
const signs = {
  github: async (d) => ({ "X-Hub-Signature-256": await (await importFile("@octokit/webhooks-methods/dist-node/index.js")).sign(d.secret, d.text) }),
  notion: async (d) => ({
    "X-Notion-Signature": await require("@notionhq/client").signWebhookPayload({ body: d.text, verificationToken: d.secret }),
  }),
  contentful: (d) => {
    const { signRequest } = require("@contentful/node-apps-toolkit");
    const request = { method: "POST", path: new URL(d.url).pathname, headers: d.headers, body: d.text };
    return signRequest(d.secret, request, Date.now());
  },
};

// What a package answers to a question of the provider's.
const answers = {
  braintree: (d) => {
    const braintree = require("braintree");
    const [publicKey, privateKey] = d.secret.split("|");
    const gateway = new braintree.BraintreeGateway({
      environment: braintree.Environment.Sandbox, merchantId: "m", publicKey, privateKey });
    return gateway.webhookNotification.verify(d.query.bt_challenge);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const d = JSON.parse(line);
  d.body = Buffer.from(d.body, "base64");
  d.text = d.body.toString("utf8");
  const answer = { version: version(d.package) };
  try {
    if (d.query) answer.answer = await answers[d.preset](d);
    else if (d.sign) answer.headers = await signs[d.preset](d);
    else answer.accepted = (await accepts[d.preset](d)) === true;
  } catch (error) {
    answer.accepted = false;
    answer.error = String(error).slice(0, 200);
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
