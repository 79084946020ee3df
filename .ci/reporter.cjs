// mocha's own 'spec' reporter, which also leaves the counts in the file that CI_SUMMARY names.
'use strict';
const { writeFileSync } = require('node:fs');
const { reporters } = require('mocha');

module.exports = class extends reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    runner.once('end', () => {
      const { passes, failures, pending } = runner.stats;
      const skipped = pending > 0 ? `, ${pending} skipped` : '';
      writeFileSync(process.env.CI_SUMMARY, `${passes} passed, ${failures} failed${skipped}\n`);
    });
  }
};
