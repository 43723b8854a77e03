/** NOTIFY: budgets have new alerts. It names none, since everybody who may connect can listen. */
export const ALERTS_CHANNEL = 'weir_budget_alerts';

/**
 * A call of a function that gives whether there are new alerts, with the notification around it. In the statement and
 * not in the function: what a function notifies on another node of a distributed database is heard by nobody.
 */
export const notifyAlerts = (call: string): string => `CASE WHEN ${call} THEN pg_notify('${ALERTS_CHANNEL}', '') END`;
