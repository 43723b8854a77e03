-- Takes a person out of the user's row, which remains for the figures, and removes the budgets of the user and of the
-- user's tokens, and the tokens. Gives nothing.
--
-- Locks: the row of the user, then the organisation's budgets (weir.lock_budgets), then the rows that it removes.
CREATE OR REPLACE FUNCTION weir.erase_user(v_organization text, v_id text, v_erased_subject bytea) RETURNS void
  LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_at timestamptz := weir.now();
BEGIN
  UPDATE users AS u SET
      name = 'deleted user',
      email = NULL,
      external_id = NULL,
      erased_subject = v_erased_subject,
      deleted_at = v_at
    WHERE u.organization_id = v_organization AND u.id = v_id;
  PERFORM weir.lock_budgets(v_organization);
  DELETE FROM budgets AS b
    WHERE b.organization_id = v_organization
      AND (
        b.subject_id = v_id
        OR b.subject_id = ANY (ARRAY(
          SELECT t.id FROM api_tokens AS t
          WHERE t.organization_id = v_organization AND t.user_id = v_id)));
  DELETE FROM token_directory AS d
    WHERE d.organization_id = v_organization
      AND d.token_id = ANY (ARRAY(
        SELECT t.id FROM api_tokens AS t
        WHERE t.organization_id = v_organization AND t.user_id = v_id));
  DELETE FROM api_tokens AS t
    WHERE t.organization_id = v_organization AND t.user_id = v_id;
END $$;
