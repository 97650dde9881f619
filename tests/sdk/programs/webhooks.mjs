import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const EVENTS = ['interaction.completed', 'interaction.failed', 'interaction.requires_action'];

const steps = {
  async begin(uri) {
    const hook = await client.webhooks.create({ name: 'mine', uri, subscribed_events: EVENTS });
    console.log(hook.id, hook.new_signing_secret);
    console.log(hook.state, hook.name, hook.uri === uri, hook.subscribed_events.length, hook.create_time !== undefined);
    const got = await client.webhooks.get(hook.id);
    console.log(got.new_signing_secret, got.signing_secrets[0].truncated_secret, got.signing_secrets[0].expire_time);
    console.log((await client.webhooks.ping(hook.id)) !== undefined);
  },
  async rotate(id) {
    const rotated = await client.webhooks.rotateSigningSecret(id, {
      revocation_behavior: 'revoke_previous_secrets_after_h24',
    });
    console.log(rotated.secret);
    const run = await client.interactions.create({ model: 'gemini-3-flash-preview', input: 'Hi', background: true });
    console.log(run.id);
  },
  async revoke(id) {
    const rotated = await client.webhooks.rotateSigningSecret(id, {
      revocation_behavior: 'revoke_previous_secrets_immediately',
    });
    console.log(rotated.secret);
    await client.webhooks.ping(id, { body: {} });
  },
  async config(uri) {
    const run = await client.interactions.create({
      model: 'gemini-3-flash-preview',
      input: 'Hi',
      background: true,
      webhook_config: { uris: [uri], user_metadata: { job_group: 'nightly-eval', priority: 'high' } },
    });
    console.log(run.id, run.webhook_config.uris[0] === uri);
  },
  async end(id) {
    let changed = await client.webhooks.update(id, {
      subscribed_events: ['batch.succeeded', 'batch.cancelled'],
      name: 'other',
    });
    console.log(changed.name, changed.subscribed_events.join(' '), changed.state);
    changed = await client.webhooks.update(id, { state: 'disabled', name: 'not this', update_mask: 'state' });
    console.log(changed.name, changed.state);
    const page = await client.webhooks.list({ page_size: 1 });
    console.log(page.webhooks.map((one) => one.id === id), page.next_page_token);
    try {
      await client.webhooks.create({ uri: 'http://127.0.0.1/', subscribed_events: ['interaction.completed'] });
    } catch (error) {
      console.log(error.status ?? error.statusCode, String(error.message).includes('not public'));
    }
    await client.webhooks.delete(id);
    try {
      await client.webhooks.get(id);
    } catch (error) {
      console.log(error.status ?? error.statusCode);
    }
    console.log((await client.webhooks.list()).webhooks);
  },
};

await steps[process.argv[2]](process.argv[3]);
