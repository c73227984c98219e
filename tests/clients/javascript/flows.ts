// Flows of a storefront's server through the generated client: `node built/flows.js URL KEY` prints one line each.
import { createClient } from "./client/client";
import {
  cancelOrder,
  enrolMember,
  getCard,
  getDecision,
  getItem,
  getOrder,
  getPoints,
  getRecommendations,
  getTier,
  listMembers,
  placeOrder,
  putItem,
  recordEvents,
  recordRefund,
  adjustPoints,
} from "./client";
import type { OrderBody } from "./client";

declare const process: { argv: string[]; exitCode: number };

const [url, key] = process.argv.slice(2);
const client = createClient({ baseUrl: url, auth: () => key });
const stranger = createClient({ baseUrl: url, auth: () => "tm_server_of_somebody_else" });
const started = Date.now();
let made = 0;

const fresh = (what: string): string => `${what}-js-${started}-${++made}`;
const ago = (days: number): string => new Date(Date.now() - days * 86_400_000).toISOString();

function same(found: unknown, wanted: unknown): void {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`found ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
  }
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("nothing was answered");
  return value;
}

async function enrol(): Promise<string> {
  const member_id = fresh("member");
  const answer = await enrolMember({ client, path: { member_id }, body: { joined_at: ago(60) } });
  same(answer.response?.status, 201);
  return member_id;
}

function anOrder(member_id: string, amount = "3000"): OrderBody {
  return {
    order_id: fresh("order"),
    member_id,
    placed_at: ago(1),
    currency: "TWD",
    lines: [{ sku: "TEA-001", quantity: 1, amount }],
  };
}

const flows: Record<string, () => Promise<void>> = {
  "a member is enrolled, changed and shown": async () => {
    const member_id = await enrol();
    const changed = await enrolMember({ client, path: { member_id }, body: { locale: "zh-Hant" } });
    same([changed.response?.status, changed.data?.locale], [200, "zh-Hant"]);
    const card = await getCard({ client, path: { member_id }, headers: { "Accept-Language": "zh-Hant" } });
    same([card.data?.locale, card.data?.measurement.schema_version], ["zh-Hant", 1]);
  },

  "members are listed page by page": async () => {
    const first = present((await listMembers({ client, query: { limit: 2 } })).data);
    const cursor = present(first.next_cursor ?? undefined);
    const second = present((await listMembers({ client, query: { limit: 2, cursor } })).data);
    same(first.data.length, 2);
    same(first.data.some((row) => row.member_id === second.data[0].member_id), false);
  },

  "an item with a slash in its sku is put and read back": async () => {
    const sku = `${fresh("sku")}/茶`;
    const body = { name: { en: "Oolong" }, category: ["tea"], price: "480", currency: "TWD" };
    same((await putItem({ client, path: { sku }, body })).response?.status, 201);
    same((await getItem({ client, path: { sku } })).data?.price, "480.00");
  },

  "an order is placed once, however often it is sent": async () => {
    const member_id = await enrol();
    const body = anOrder(member_id);
    const headers = { "Idempotency-Key": fresh("key") };
    const first = await placeOrder({ client, body, headers });
    const again = await placeOrder({ client, body, headers });
    same([first.response?.status, again.response?.status], [201, 201]);
    same(again.response?.headers.get("Idempotent-Replayed"), "true");
    same((await placeOrder({ client, body })).response?.status, 200);
    const points = present((await getPoints({ client, path: { member_id } })).data);
    same(points.available + points.pending, 100);
  },

  "another order of the same id is a conflict": async () => {
    const body = anOrder(await enrol());
    await placeOrder({ client, body });
    const refused = await placeOrder({ client, body: { ...body, channel: "store" } });
    same([refused.response?.status, refused.error?.code], [409, "order-conflict"]);
  },

  "a refund takes back what it is for, a cancellation everything": async () => {
    const member_id = await enrol();
    const [kept, called_off] = [anOrder(member_id), anOrder(member_id)];
    for (const body of [kept, called_off]) await placeOrder({ client, body });
    const refund = { refund_id: fresh("refund"), order_id: kept.order_id, refunded_at: ago(0), amount: "1500" };
    same((await recordRefund({ client, body: refund })).data?.points.reversed, 50);
    const path = { order_id: called_off.order_id };
    const body = { cancelled_at: ago(0), reason: "changed their mind" };
    same((await cancelOrder({ client, path, body })).response?.status, 200);
    same((await getOrder({ client, path: { order_id: kept.order_id } })).data?.order.refunds.length, 1);
    same((await getTier({ client, path: { member_id } })).data?.metrics.orders, 1);
  },

  "points are given once": async () => {
    const member_id = await enrol();
    const body = { points: 40, reason: "a test of the client" };
    const headers = { "Idempotency-Key": fresh("key") };
    for (let time = 0; time < 2; time++) await adjustPoints({ client, path: { member_id }, body, headers });
    same((await getPoints({ client, path: { member_id } })).data?.available, 40);
  },

  "a recommendation is shown, traced and reported back": async () => {
    const member_id = "mei-lin";
    const query = { placement: "home", limit: 3 };
    const shown = present((await getRecommendations({ client, path: { member_id }, query })).data);
    const recommendation_id = shown.recommendation_id;
    const decision = await getDecision({ client, path: { recommendation_id } });
    same(decision.data?.items.map((item) => item.sku), shown.items.map((item) => item.sku));
    const impression_id = shown.items[0].impression_id;
    const event = { event_id: fresh("event"), type: "viewed", occurred_at: ago(0), member_id };
    const events = [{ ...event, recommendation_id, impression_id }];
    same((await recordEvents({ client, body: { events } })).data?.accepted, 1);
  },

  "what is refused is read as a problem": async () => {
    const path = { member_id: "nobody" };
    const unknown = await getCard({ client, path });
    same([unknown.error?.status, unknown.error?.code], [404, "unknown-member"]);
    same((await getCard({ client: stranger, path })).error?.code, "unauthenticated");
    const invalid = await placeOrder({ client, body: anOrder("mei-lin", "a lot") });
    same(invalid.error?.errors?.[0].pointer, "/lines/0/amount");
  },
};

async function play(): Promise<void> {
  for (const [name, flow] of Object.entries(flows)) {
    try {
      await flow();
      console.log(`passed: ${name}`);
    } catch (error) {
      console.log(`failed: ${name}: ${String(error)}`);
      process.exitCode = 1;
    }
  }
}

void play();
