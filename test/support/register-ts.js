'use strict';
// For processes that tests start: lets node load our TypeScript as jest does. `node -r test/support/register-ts.js file.ts`
const { transformFileSync } = require('@swc/core');
const [, options] = require('../../jest.config.js').projects[0].transform['\\.[cm]?[jt]s$'];

require.extensions['.ts'] = (module, file) =>
  module._compile(transformFileSync(file, { ...options, swcrc: false }).code, file);
require('reflect-metadata');
