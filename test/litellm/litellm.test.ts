import { startLitellmRig, type LitellmRig } from '../support/litellm-rig';
import { cacheCases } from './cases/cache.cases';
import { callCases } from './cases/calls.cases';
import { errorCases } from './cases/errors.cases';
import { keyCases } from './cases/keys.cases';
import { modelCases } from './cases/models.cases';
import { outageCases } from './cases/outage.cases';
import { reconciliationCases } from './cases/reconciliation.cases';
import { recoveryCases } from './cases/recovery.cases';
import { runningCases } from './cases/running.cases';
import { spendCases } from './cases/spend.cases';
import { streamCases } from './cases/streams.cases';
import { virtualKeyCases } from './cases/virtual-keys.cases';

/**
 * A real LiteLLM, with the whole product in front of it and the fake provider behind. Numbers in the names are those of
 * docs/litellm.md. One file, because one LiteLLM takes eight seconds to start and 850 MB.
 */
describe('on a real LiteLLM', () => {
  const rig = {} as LitellmRig;

  // The first run in a clone installs LiteLLM. Longer than what it waits for inside, which says why.
  beforeAll(async () => void Object.assign(rig, await startLitellmRig()), 2_400_000);
  afterAll(async () => rig.stop?.());

  describe('running', () => {
    runningCases(rig);
  });
  describe('models', () => {
    modelCases(rig);
  });
  describe('keys and teams', () => {
    keyCases(rig);
  });
  describe("a user's virtual key", () => {
    virtualKeyCases(rig);
  });
  describe('a call', () => {
    callCases(rig);
  });
  describe('a stream', () => {
    streamCases(rig);
  });
  describe('errors', () => {
    errorCases(rig);
  });
  describe('spend rows', () => {
    spendCases(rig);
  });
  describe('a call whose process died', () => {
    recoveryCases(rig);
  });
  describe('our figures against its records', () => {
    reconciliationCases(rig);
  });
  // Starts the proxy again, with its cache on, and at the end without.
  describe("an answer from the proxy's cache", () => {
    cacheCases(rig);
  });
  // Last: it kills the proxy.
  describe('the proxy goes away', () => {
    outageCases(rig);
  });
});
