-- Makes an API token, and enters it into the directory by which requests are assigned to an organisation. Gives false,
-- with nothing done, where a token with this secret exists already.
--
-- Locks: the rows that it writes; it waits for another transaction that makes a token with the same secret.
CREATE OR REPLACE FUNCTION weir.put_token(
    v_organization text, v_id text, v_user text, v_name text,
    v_hash bytea, v_hint text, v_expires_at timestamptz, v_created_by text)
  RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO token_directory (hash, organization_id, token_id)
    VALUES (v_hash, v_organization, v_id)
    ON CONFLICT (hash) DO NOTHING;
  IF NOT FOUND THEN RETURN false; END IF;
  INSERT INTO api_tokens (organization_id, id, user_id, name, hash, hint, expires_at, created_by)
    VALUES (v_organization, v_id, v_user, v_name, v_hash, v_hint, v_expires_at, v_created_by);
  RETURN true;
END $$;
