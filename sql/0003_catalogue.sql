-- The event types that every workspace knows: those of the documents whose APIs hookcast speaks, in their order, each with an
-- example of its payload. An example is what the event's producer would send as its payload, so every format can be shown with it.

INSERT INTO event_types (dialect, event_type, position, description, example) VALUES
    ('seanotify', 'conversation.new', 1, 'Triggered when a new conversation is created',
     '{"conversation": {"id": "conv_123", "title": "Question about my order", "channel": "webchat", "contact_id": "contact_501",
      "started_at": "2024-03-10T15:30:00Z", "status": "open"}}'),
    ('seanotify', 'conversation.updated', 2, 'Triggered when a conversation is updated',
     '{"conversation": {"id": "conv_123", "title": "Question about my order", "channel": "webchat", "contact_id": "contact_501",
      "started_at": "2024-03-10T15:30:00Z", "status": "open", "assignee": "kelly@example.com"}, "changed": ["assignee"]}'),
    ('seanotify', 'message.new', 3, 'Triggered when a message is sent',
     '{"message": {"id": "msg_9001", "conversation_id": "conv_123", "sender": {"type": "contact", "id": "contact_501"}, "type":
      "text", "text": "Hello, where is my order?", "sent_at": "2024-03-10T15:30:05Z"}}'),
    ('seanotify', 'conversation.ended', 4, 'Triggered when a conversation is ended',
     '{"conversation": {"id": "conv_123", "title": "Question about my order", "channel": "webchat", "contact_id": "contact_501",
      "started_at": "2024-03-10T15:30:00Z", "status": "closed", "ended_at": "2024-03-10T15:52:10Z"}}'),
    ('seanotify', 'conversation.label.added', 5, 'Triggered when a label is added to a conversation',
     '{"conversation": {"id": "conv_123"}, "label": {"id": "label_9", "name": "VIP"}}'),
    ('seanotify', 'conversation.label.deleted', 6, 'Triggered when a label is removed from a conversation',
     '{"conversation": {"id": "conv_123"}, "label": {"id": "label_9", "name": "VIP"}}'),
    ('seanotify', 'call.new', 7, 'Triggered when a call starts',
     '{"call": {"id": "call_77", "direction": "inbound", "from": "+14255550123", "to": "+14255550100", "contact_id":
      "contact_501", "started_at": "2024-03-10T16:00:00Z", "status": "ringing"}}'),
    ('seanotify', 'call.ended', 8, 'Triggered when a call ends',
     '{"call": {"id": "call_77", "direction": "inbound", "from": "+14255550123", "to": "+14255550100", "contact_id":
      "contact_501", "started_at": "2024-03-10T16:00:00Z", "status": "ended", "ended_at": "2024-03-10T16:04:31Z",
      "duration_seconds": 271}}'),
    ('seanotify', 'call.updated', 9, 'Triggered when a call summary is generated',
     '{"call": {"id": "call_77", "duration_seconds": 271, "summary":
      "The caller asked about a late order and was given its new date."}}'),
    ('seanotify', 'call.missed', 10, 'Triggered when a call is missed',
     '{"call": {"id": "call_77", "direction": "inbound", "from": "+14255550123", "to": "+14255550100", "contact_id":
      "contact_501", "started_at": "2024-03-10T16:00:00Z", "status": "missed", "rang_seconds": 30}}'),
    ('seanotify', 'contact.new', 11, 'Triggered when a contact is created',
     '{"contact": {"id": "contact_501", "name": "Grace Lin", "phone": "+14255550123", "email": "grace.lin@example.com",
      "language": "en", "created_at": "2024-03-10T15:30:00Z"}}'),
    ('seanotify', 'contact.updated', 12, 'Triggered when a contact is updated',
     '{"contact": {"id": "contact_501", "name": "Grace Lin", "phone": "+14255550123", "email": "grace@example.com", "language":
      "en", "created_at": "2024-03-10T15:30:00Z", "updated_at": "2024-03-12T09:00:00Z"}, "changed": ["email"]}'),
    ('seanotify', 'contact.deleted', 13, 'Triggered when a contact is deleted',
     '{"contact": {"id": "contact_501", "name": "Grace Lin"}}'),
    ('seanotify', 'contact.label.added', 14, 'Triggered when a label is added to a contact',
     '{"contact": {"id": "contact_501"}, "label": {"id": "label_9", "name": "VIP"}}'),
    ('seanotify', 'contact.label.deleted', 15, 'Triggered when a label is removed from a contact',
     '{"contact": {"id": "contact_501"}, "label": {"id": "label_9", "name": "VIP"}}');

INSERT INTO event_types (dialect, event_type, position, description, example) VALUES
    ('seleqt', 'incoming_message', 1, 'Triggered when a lead answers a campaign',
     '{"id": 123, "message_id": "abc123", "message": "Hello there", "sent_by_lead": true, "sent_at": "2025-06-09T11:22:33Z",
      "created_at": "2025-06-09T11:22:33Z", "updated_at": "2025-06-09T11:22:33Z", "campaign": {"id": 456, "name":
      "Outbound - SaaS founders", "status": "ACTIVE"}, "lead": {"id": 789, "first_name": "Alex", "last_name": "Doe",
      "profile_picture_url": "https://example.com/alex.jpg", "linkedin_profile_url": "https://www.linkedin.com/in/alex-doe/",
      "linkedin_public_id": "alex-doe", "job_title": "Head of Sales", "industry": "SaaS", "headline":
      "Helping teams close more deals", "email": "alex@example.com", "phone_number": "+1 555 0100", "location": "Amsterdam, NL",
      "status": "IN_REVIEW", "company": {"id": 321, "name": "Acme Inc", "linkedin_url":
      "https://www.linkedin.com/company/acme/", "logo_url": "https://example.com/logo.png", "website_url": "https://acme.com",
      "location": "Amsterdam, NL", "industry": "Software", "revenue": "$10M-$50M", "amount_of_employees": "51-200"},
      "custom_fields": {"plan": "pro"}}}');

INSERT INTO event_types (dialect, event_type, position, description, example) VALUES
    ('saleshandy', 'email-sent', 1, 'Triggered when an email is sent to a prospect',
     '{"prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence":
      {"id": "seq_12", "name": "Spring outreach", "step": 2}, "email_account": {"id": "account_4", "email":
      "sales@example.com"}, "subject": "A quick question", "sent_at": "2025-04-01T09:00:00Z"}'),
    ('saleshandy', 'email-opened', 2, 'Triggered when a prospect opens an email',
     '{"prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence":
      {"id": "seq_12", "name": "Spring outreach", "step": 2}, "email_account": {"id": "account_4", "email":
      "sales@example.com"}, "subject": "A quick question", "opened_at": "2025-04-01T09:12:00Z"}'),
    ('saleshandy', 'email-link-clicked', 3, 'Triggered when a prospect clicks a link in an email',
     '{"prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence":
      {"id": "seq_12", "name": "Spring outreach", "step": 2}, "email_account": {"id": "account_4", "email":
      "sales@example.com"}, "link": "https://example.com/pricing", "clicked_at": "2025-04-01T09:13:00Z"}'),
    ('saleshandy', 'reply-received', 4, 'Triggered when a prospect answers an email',
     '{"prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence":
      {"id": "seq_12", "name": "Spring outreach", "step": 2}, "email_account": {"id": "account_4", "email":
      "sales@example.com"}, "subject": "Re: A quick question", "text": "Sounds good, call me on Friday.", "received_at":
      "2025-04-01T11:00:00Z"}'),
    ('saleshandy', 'email-bounced', 5, 'Triggered when an email comes back undelivered',
     '{"prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence":
      {"id": "seq_12", "name": "Spring outreach", "step": 2}, "email_account": {"id": "account_4", "email":
      "sales@example.com"}, "reason": "550 5.1.1 mailbox unavailable", "bounced_at": "2025-04-01T09:00:04Z"}'),
    ('saleshandy', 'prospect-unsubscribed', 6, 'Triggered when a prospect unsubscribes',
     '{"prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence":
      {"id": "seq_12", "name": "Spring outreach", "step": 2}, "unsubscribed_at": "2025-04-03T08:00:00Z"}'),
    ('saleshandy', 'prospect-finished', 7, 'Triggered when a prospect has been through a whole sequence',
     '{"prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence":
      {"id": "seq_12", "name": "Spring outreach", "step": 5}, "finished_at": "2025-04-20T08:00:00Z"}'),
    ('saleshandy', 'prospect-outcome-updated', 8, 'Triggered when a prospect''s outcome changes',
     '{"prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence":
      {"id": "seq_12", "name": "Spring outreach", "step": 2}, "outcome": {"before": null, "after": "Meeting booked"}}'),
    ('saleshandy', 'sequence-paused', 9, 'Triggered when a sequence is paused',
     '{"sequence": {"id": "seq_12", "name": "Spring outreach"}, "paused_at": "2025-04-05T10:00:00Z"}'),
    ('saleshandy', 'email-account-disconnected', 10, 'Triggered when an email account loses its connection',
     '{"email_account": {"id": "account_4", "email": "sales@example.com"}, "reason": "authentication failed"}'),
    ('saleshandy', 'email-account-paused', 11, 'Triggered when an email account is paused',
     '{"email_account": {"id": "account_4", "email": "sales@example.com"}, "reason": "daily limit reached"}'),
    ('saleshandy', 'inbox-analyser-test-completed', 12, 'Triggered when a test of the inbox analyser is complete',
     '{"test": {"id": "test_6", "score": 8.5, "inbox": 17, "spam": 3}, "email_account": {"id": "account_4", "email":
      "sales@example.com"}}'),
    ('saleshandy', 'task-created', 13, 'Triggered when a task is created',
     '{"task": {"id": "task_88", "type": "email", "status": "open", "due_at": "2025-04-02T09:00:00Z"}, "prospect": {"id":
      "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence": {"id": "seq_12", "name":
      "Spring outreach", "step": 2}}'),
    ('saleshandy', 'task-updated', 14, 'Triggered when a task is updated',
     '{"task": {"id": "task_88", "type": "email", "status": "completed", "due_at": "2025-04-02T09:00:00Z"}, "prospect": {"id":
      "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence": {"id": "seq_12", "name":
      "Spring outreach", "step": 2}}'),
    ('saleshandy', 'bulk-task-updated', 15, 'Triggered when several tasks are updated at once',
     '{"tasks": [{"id": "task_88", "status": "completed"}, {"id": "task_89", "status": "completed"}]}'),
    ('saleshandy', 'call-task-updated', 16, 'Triggered when a call task is updated',
     '{"task": {"id": "task_88", "type": "call", "status": "completed", "due_at": "2025-04-02T09:00:00Z", "note":
      "Call back on Friday"}, "prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name":
      "Reed"}, "sequence": {"id": "seq_12", "name": "Spring outreach", "step": 2}}'),
    ('saleshandy', 'linkedin-task-updated', 17, 'Triggered when a LinkedIn task is updated',
     '{"task": {"id": "task_88", "type": "linkedin", "status": "completed", "due_at": "2025-04-02T09:00:00Z"}, "prospect":
      {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence": {"id": "seq_12",
      "name": "Spring outreach", "step": 2}}'),
    ('saleshandy', 'custom-task-updated', 18, 'Triggered when a custom task is updated',
     '{"task": {"id": "task_88", "type": "custom", "status": "completed", "due_at": "2025-04-02T09:00:00Z", "title":
      "Send the brochure"}, "prospect": {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name":
      "Reed"}, "sequence": {"id": "seq_12", "name": "Spring outreach", "step": 2}}'),
    ('saleshandy', 'whatsapp-task-updated', 19, 'Triggered when a WhatsApp task is updated',
     '{"task": {"id": "task_88", "type": "whatsapp", "status": "completed", "due_at": "2025-04-02T09:00:00Z"}, "prospect":
      {"id": "prospect_31", "email": "sam@example.org", "first_name": "Sam", "last_name": "Reed"}, "sequence": {"id": "seq_12",
      "name": "Spring outreach", "step": 2}}');

INSERT INTO event_types (dialect, event_type, position, description, example) VALUES
    ('kakiyo', 'prospect.qualified', 1, 'Prospect marked as qualified',
     '{"prospect": {"id": "prospect_7", "name": "Robin Vale", "company": "Vale & Co", "linkedin_url":
      "https://www.linkedin.com/in/robin-vale/", "status": "qualified"}, "campaign": {"id": "campaign_3", "name":
      "Founders in Lisbon"}}'),
    ('kakiyo', 'prospect.responded', 2, 'Prospect responded to outreach',
     '{"prospect": {"id": "prospect_7", "name": "Robin Vale", "company": "Vale & Co", "linkedin_url":
      "https://www.linkedin.com/in/robin-vale/"}, "campaign": {"id": "campaign_3", "name": "Founders in Lisbon"}, "message":
      {"id": "m_55", "text": "Tell me more."}}'),
    ('kakiyo', 'campaign.completed', 3, 'Campaign reached completion',
     '{"campaign": {"id": "campaign_3", "name": "Founders in Lisbon", "status": "completed"}, "prospects": {"total": 120,
      "responded": 34, "qualified": 9}}'),
    ('kakiyo', 'message.sent', 4, 'Message sent to prospect',
     '{"prospect": {"id": "prospect_7", "name": "Robin Vale", "company": "Vale & Co", "linkedin_url":
      "https://www.linkedin.com/in/robin-vale/"}, "campaign": {"id": "campaign_3", "name": "Founders in Lisbon"}, "agent":
      {"id": "agent_2", "name": "Ada"}, "message": {"id": "m_54", "text": "Hello Robin!"}}'),
    ('kakiyo', 'connection.accepted', 5, 'LinkedIn connection accepted',
     '{"prospect": {"id": "prospect_7", "name": "Robin Vale", "company": "Vale & Co", "linkedin_url":
      "https://www.linkedin.com/in/robin-vale/"}, "campaign": {"id": "campaign_3", "name": "Founders in Lisbon"}, "agent":
      {"id": "agent_2", "name": "Ada"}}'),
    ('kakiyo', 'agent.status_changed', 6, 'Agent status changed',
     '{"agent": {"id": "agent_2", "name": "Ada", "status": {"before": "running", "after": "paused"}}}'),
    ('kakiyo', 'linkedin.message.received', 7, 'LinkedIn message received',
     '{"prospect": {"id": "prospect_7", "name": "Robin Vale", "company": "Vale & Co", "linkedin_url":
      "https://www.linkedin.com/in/robin-vale/"}, "campaign": {"id": "campaign_3", "name": "Founders in Lisbon"}, "message":
      {"id": "m_56", "text": "Next week suits me."}}'),
    ('kakiyo', 'prospect.qualification.manual', 8, 'Prospect qualified by hand',
     '{"prospect": {"id": "prospect_7", "name": "Robin Vale", "company": "Vale & Co", "linkedin_url":
      "https://www.linkedin.com/in/robin-vale/", "status": "qualified"}, "campaign": {"id": "campaign_3", "name":
      "Founders in Lisbon"}, "qualified_by": "kim@example.com"}');

INSERT INTO event_types (dialect, event_type, position, description, example) VALUES
    ('supersend', 'open', 1, 'Triggered when a contact opens an email',
     '{"CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1", "contact": {"id": "345b2b81-b2cf-4879-bf46-73a33275e22b",
      "first_name": null, "last_name": null, "email": "andrew@example.com", "verified": true, "finished": true, "bounced":
      false, "interest": "interested", "clicked": false, "opened": true, "replied": false, "appointment": false, "createdAt":
      "2023-01-26T04:41:10.639Z", "updatedAt": "2023-01-26T04:48:04.762Z", "CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1",
      "Sender": {"id": "2744c004-3c4a-4633-9ec1-586270332c7b", "provider": "smtp", "send_as": "Andrew", "email":
      "sender@example.com"}}}'),
    ('supersend', 'click', 2, 'Triggered when a contact clicks a link',
     '{"CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1", "contact": {"id": "345b2b81-b2cf-4879-bf46-73a33275e22b",
      "first_name": null, "last_name": null, "email": "andrew@example.com", "verified": true, "finished": true, "bounced":
      false, "interest": "interested", "clicked": true, "opened": false, "replied": false, "appointment": false, "createdAt":
      "2023-01-26T04:41:10.639Z", "updatedAt": "2023-01-26T04:48:04.762Z", "CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1",
      "Sender": {"id": "2744c004-3c4a-4633-9ec1-586270332c7b", "provider": "smtp", "send_as": "Andrew", "email":
      "sender@example.com"}}}'),
    ('supersend', 'reply', 3, 'Triggered when a contact answers',
     '{"CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1", "contact": {"id": "345b2b81-b2cf-4879-bf46-73a33275e22b",
      "first_name": null, "last_name": null, "email": "andrew@example.com", "verified": true, "finished": true, "bounced":
      false, "interest": "interested", "clicked": true, "opened": false, "replied": true, "appointment": false, "createdAt":
      "2023-01-26T04:41:10.639Z", "updatedAt": "2023-01-26T04:48:04.762Z", "CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1",
      "Sender": {"id": "2744c004-3c4a-4633-9ec1-586270332c7b", "provider": "smtp", "send_as": "Andrew", "email":
      "sender@example.com"}}}'),
    ('supersend', 'bounce', 4, 'Triggered when an email to a contact comes back',
     '{"CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1", "contact": {"id": "345b2b81-b2cf-4879-bf46-73a33275e22b",
      "first_name": null, "last_name": null, "email": "andrew@example.com", "verified": true, "finished": true, "bounced": true,
      "interest": null, "clicked": false, "opened": false, "replied": false, "appointment": false, "createdAt":
      "2023-01-26T04:41:10.639Z", "updatedAt": "2023-01-26T04:48:04.762Z", "CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1",
      "Sender": {"id": "2744c004-3c4a-4633-9ec1-586270332c7b", "provider": "smtp", "send_as": "Andrew", "email":
      "sender@example.com"}}}'),
    ('supersend', 'interest', 5, 'Triggered when a contact''s interest changes',
     '{"CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1", "contact": {"id": "345b2b81-b2cf-4879-bf46-73a33275e22b",
      "first_name": null, "last_name": null, "email": "andrew@example.com", "verified": true, "finished": true, "bounced":
      false, "interest": "interested", "clicked": true, "opened": false, "replied": false, "appointment": false, "createdAt":
      "2023-01-26T04:41:10.639Z", "updatedAt": "2023-01-26T04:48:04.762Z", "CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1",
      "Sender": {"id": "2744c004-3c4a-4633-9ec1-586270332c7b", "provider": "smtp", "send_as": "Andrew", "email":
      "sender@example.com"}}}'),
    ('supersend', 'appointment', 6, 'Triggered when a contact makes an appointment',
     '{"CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1", "contact": {"id": "345b2b81-b2cf-4879-bf46-73a33275e22b",
      "first_name": null, "last_name": null, "email": "andrew@example.com", "verified": true, "finished": true, "bounced":
      false, "interest": "interested", "clicked": true, "opened": false, "replied": false, "appointment": true, "createdAt":
      "2023-01-26T04:41:10.639Z", "updatedAt": "2023-01-26T04:48:04.762Z", "CampaignId": "d9ff359d-8d50-378b-989a-34100a0503c1",
      "Sender": {"id": "2744c004-3c4a-4633-9ec1-586270332c7b", "provider": "smtp", "send_as": "Andrew", "email":
      "sender@example.com"}}}');
