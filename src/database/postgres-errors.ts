/** The constraint that Postgres names in an error, from the driver or from TypeORM, which copies the driver's fields; null for other errors. */
export const violatedConstraint = (error: unknown): string | null => (error as { constraint?: string } | null)?.constraint ?? null;
