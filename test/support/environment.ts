/** Is loaded before all tests: settings of whoever runs them must not count, neither here nor in the processes that tests start. */
for (const name of Object.keys(process.env)) if (/^(STAN|NATS)_/.test(name)) delete process.env[name];
