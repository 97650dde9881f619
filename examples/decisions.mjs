// The JavaScript client has no decisions yet: plain HTTP.
const answered = await fetch(`${process.env.GOOGLE_GEMINI_BASE_URL}/v1/decisions`, {
  method: 'POST',
  headers: { 'content-type': 'application/json', 'x-goog-api-key': process.env.GEMINI_API_KEY },
  body: JSON.stringify({
    model: 'gemini-3-flash-preview',
    input: 'Hello! My oven has been cold since Tuesday, and nobody answers the telephone.',
    questions: {
      urgent: { type: 'noul', instructions: 'Does the writer need help today?' },
      about: {
        type: 'choice',
        instructions: 'What is the message about?',
        criteria: { repair: 'something is broken', invoice: 'money', praise: 'the writer is happy' },
      },
    },
  }),
});
const { answers } = await answered.json();
console.log('urgent', answers.urgent.noul);
console.log('about', answers.about.choice);
