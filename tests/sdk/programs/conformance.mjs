// Asks the server for everything that @google/genai can ask, and prints as JSON which check failed and why.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { GoogleGenAI } from '@google/genai';

const client = new GoogleGenAI({});
const api = client.interactions;
const model = 'gemini-3-flash-preview';
const once = { maxRetries: 0 };
const weather = {
  type: 'function',
  name: 'get_weather',
  parameters: { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } } },
};
const time = { type: 'function', name: 'get_time', parameters: { type: 'object', properties: {} } };
const tools = [{ type: 'google_search' }, { type: 'code_execution' }, weather];
const everything = { model, input: 'every kind of step', tools, generation_config: { thinking_summaries: 'auto' } };
const hello = { type: 'text', text: 'Hello' };

async function collect(stream) {
  const events = [];
  for await (const event of await stream) events.push(event);
  for (const event of events) {
    assert.equal(event.type, event.event_type.replace('interaction.completed', 'interaction.complete'));
  }
  return events;
}

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it was not refused');
}

const textOf = (interaction) => interaction.steps.at(-1).content[0].text;
const kinds = (interaction) => interaction.steps.map((step) => step.type);

// In the order in which the scripted model speaks: each step, and the types of its deltas.
const STEPS = [
  ['thought', ['thought_summary', 'thought_signature']],
  ['model_output', ['text']],
  ['google_search_call', ['google_search_call']],
  ['google_search_result', ['google_search_result']],
  ['code_execution_call', ['code_execution_call']],
  ['code_execution_result', ['code_execution_result']],
  ['thought', ['thought_summary', 'thought_signature']],
  ['function_call', ['arguments_delta']],
];

const checks = {
  async every_kind_of_step_is_streamed() {
    const events = await collect(api.create({ ...everything, stream: true }));
    assert.equal(events[0].event_type, 'interaction.created');
    assert.equal(events[1].event_type, 'interaction.status_update');
    const starts = events.filter((event) => event.event_type === 'step.start');
    assert.deepEqual(starts.map((event) => event.step.type), STEPS.map(([kind]) => kind));
    STEPS.forEach(([, expected], index) => {
      const own = events.filter((event) => event.event_type === 'step.delta' && event.index === index);
      assert.deepEqual([...new Set(own.map((event) => event.delta.type))], expected);
    });
    const last = events.at(-1);
    assert.equal(last.event_type, 'interaction.completed');
    assert.equal(last.interaction.status, 'requires_action');
    assert.ok(last.interaction.usage.total_tokens > 0);
    const whole = await api.get(last.interaction.id);
    assert.deepEqual(kinds(whole), ['user_input', ...STEPS.map(([kind]) => kind)]);
    assert.deepEqual(whole.steps.at(-1).arguments, { city: 'Paris', days: 2 });
  },

  async a_run_that_fails_half_way_streams_an_error_and_an_end() {
    const events = await collect(api.create({ model, input: 'fail half-way', stream: true }));
    const [error, last] = events.slice(-2);
    assert.equal(error.event_type, 'error');
    assert.deepEqual(error.error, { code: 'service_unavailable', message: 'The model has left.' });
    assert.equal(last.interaction.status, 'failed');
    assert.equal((await api.get(last.interaction.id)).error.message, 'The model has left.');
  },

  async a_stream_can_be_read_again_and_resumed_anywhere() {
    const events = await collect(api.create({ ...everything, stream: true }));
    const { id } = events.at(-1).interaction;
    assert.deepEqual(await collect(api.get(id, { stream: true })), events);
    for (const place of [0, 5, events.length - 2]) {
      const rest = await collect(api.get(id, { stream: true, last_event_id: events[place].event_id }));
      assert.deepEqual(rest, events.slice(place + 1));
    }
  },

  async a_background_run_can_be_streamed() {
    const events = await collect(api.create({ model, input: 'Hello', background: true, stream: true }));
    assert.ok(events.every((event) => event.event_id));
    assert.equal(events.at(-1).interaction.status, 'completed');
  },

  async every_form_of_input_is_understood() {
    const step = { type: 'user_input', content: [hello] };
    for (const input of ['Hello', hello, [hello], [step], step, [{ role: 'user', content: 'Hello' }]]) {
      assert.equal(textOf(await api.create({ model, input })), 'You said: Hello');
    }
  },

  async a_conversation_kept_by_the_client_is_taken_back() {
    const first = await api.create({ ...everything, store: false });
    assert.ok(!first.id);
    const call = first.steps.at(-1);
    const question = { type: 'user_input', content: [{ type: 'text', text: 'every kind of step' }] };
    const result = { type: 'function_result', call_id: call.id, name: call.name, result: '21' };
    const second = await api.create({ model, input: [question, ...first.steps, result], tools, store: false });
    assert.equal(textOf(second), 'It is 21 degrees in Paris.');
  },

  async the_whole_timeline_is_read_back() {
    const created = await api.create({ model, input: 'Hello' });
    assert.deepEqual(kinds(created), ['model_output']);
    assert.equal(created.output_text, 'You said: Hello');
    assert.deepEqual(kinds(await api.get(created.id)), ['user_input', 'model_output']);
  },

  async a_background_run_is_cancelled() {
    const started = await api.create({ model, input: 'say nothing for ever', background: true });
    assert.equal(started.status, 'in_progress');
    assert.equal((await api.cancel(started.id)).status, 'cancelled');
    const events = await collect(api.get(started.id, { stream: true }));
    assert.equal(events.at(-1).interaction.status, 'cancelled');
  },

  async what_is_deleted_is_gone() {
    const created = await api.create({ model, input: 'Hello' });
    await api.delete(created.id);
    const error = await refusal(api.get(created.id));
    assert.deepEqual([error.name, error.status], ['NotFoundError', 404]);
    assert.ok(error.message.includes(`Interaction '${created.id}' was not found.`));
  },

  async results_are_matched_to_calls_in_any_order_and_form() {
    for (const value of ['21', { degrees: 21 }, [{ type: 'text', text: '21' }]]) {
      const asked = await api.create({ model, input: 'two calls', tools: [weather, time] });
      assert.equal(asked.status, 'requires_action');
      const [first, second] = asked.steps;
      const input = [
        { type: 'function_result', call_id: second.id, name: second.name, result: 'closed', is_error: true },
        { type: 'function_result', call_id: first.id, name: first.name, result: value },
      ];
      const answered = await api.create({ model, input, previous_interaction_id: asked.id });
      assert.equal(textOf(answered), 'It is 21 degrees in Paris.');
    }
  },

  async an_answer_has_the_form_that_was_asked_for() {
    const schema = { type: 'object', properties: { degrees: { type: 'integer' } }, required: ['degrees'] };
    const response_format = { type: 'text', mime_type: 'application/json', schema };
    const interaction = await api.create({ model, input: 'Hello', response_format });
    assert.deepEqual(JSON.parse(textOf(interaction)), { degrees: 0 });
  },

  async errors_arrive_as_their_class_with_our_words() {
    const expected = [
      [() => api.get('v1_nothing', {}, once), 'NotFoundError', 404, "Interaction 'v1_nothing' was not found."],
      [() => api.create({ model: 'nobody', input: 'Hello' }, once), 'NotFoundError', 404, "no model 'nobody'"],
      [() => api.create({ model, input: '' }, once), 'BadRequestError', 400, 'Request has empty input.'],
      [() => api.create({ model, input: 'too many' }, once), 'RateLimitError', 429, 'One at a time, please.'],
      [() => api.create({ model, input: 'fail half-way' }, once), 'InternalServerError', 503, 'The model has left.'],
      [() => api.create({ model: 'nobody', input: '', stream: true }, once), 'NotFoundError', 404, "'nobody'"],
    ];
    for (const [call, name, status, words] of expected) {
      const error = await refusal(call());
      assert.deepEqual([error.name, error.status], [name, status]);
      assert.ok(error.message.includes(words), error.message);
    }
  },

  async interactions_are_listed() {
    const created = await api.create({ model, input: 'Hello' });
    const response = await fetch(`${process.env.GOOGLE_GEMINI_BASE_URL}/v1beta/interactions?page_size=1`, {
      headers: { 'x-goog-api-key': process.env.GEMINI_API_KEY },
    });
    assert.deepEqual((await response.json()).interactions.map((item) => item.id), [created.id]);
  },
};

const faults = {};
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
  } catch (error) {
    faults[name] = error.stack;
  }
}
const folder = new URL('./node_modules/@google/genai/package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(folder, 'utf8'));
console.log(JSON.stringify({ version, checks: Object.keys(checks).length, faults }));
