-- Behind all tables, since on a distributed Postgres a foreign key can only be made once both of its sides are distributed.
-- Between tables of organisations they name the organisation; none leads from a table of all to a table of organisations.

ALTER TABLE users ADD CONSTRAINT users_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id);
ALTER TABLE users ADD CONSTRAINT users_plan_id_fkey FOREIGN KEY (plan_id) REFERENCES plans (id);
ALTER TABLE projects ADD CONSTRAINT projects_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id);
ALTER TABLE api_tokens ADD CONSTRAINT api_tokens_user_id_fkey
  FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE;
ALTER TABLE virtual_keys ADD CONSTRAINT virtual_keys_user_id_fkey
  FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE;
ALTER TABLE conversations ADD CONSTRAINT conversations_user_id_fkey
  FOREIGN KEY (organization_id, user_id) REFERENCES users (organization_id, id) ON DELETE CASCADE;
ALTER TABLE conversations ADD CONSTRAINT conversations_project_id_fkey
  FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id);
ALTER TABLE messages ADD CONSTRAINT messages_conversation_id_fkey
  FOREIGN KEY (organization_id, conversation_id) REFERENCES conversations (organization_id, id) ON DELETE CASCADE;
ALTER TABLE budgets ADD CONSTRAINT budgets_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id);
ALTER TABLE budget_periods ADD CONSTRAINT budget_periods_budget_id_fkey
  FOREIGN KEY (organization_id, budget_id) REFERENCES budgets (organization_id, id) ON DELETE CASCADE;
ALTER TABLE budget_alerts ADD CONSTRAINT budget_alerts_budget_id_fkey
  FOREIGN KEY (organization_id, budget_id) REFERENCES budgets (organization_id, id) ON DELETE CASCADE;
ALTER TABLE price_rates ADD CONSTRAINT price_rates_number_fkey FOREIGN KEY (number) REFERENCES model_prices (number);
ALTER TABLE price_changes ADD CONSTRAINT price_changes_book_fkey FOREIGN KEY (book) REFERENCES model_prices (number);
ALTER TABLE price_change_parts ADD CONSTRAINT price_change_parts_book_fkey FOREIGN KEY (book) REFERENCES price_changes (book);
ALTER TABLE sql_roles ADD CONSTRAINT sql_roles_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id);
