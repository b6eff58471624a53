-- A ledger as the program of schema version 4 wrote it, before its inside was rebuilt: `iterdump` of its SQLite file.
-- Its run was made by `prepared` of 15 rows and the changes of `Ledger.apply` under a clock that goes on by a second at
-- each look, its process ended in the middle, and was reported by `conclude`, which wrote version-4.results.jsonl.
-- It is never written anew: it stands for the ledgers that are out there.
BEGIN TRANSACTION;
CREATE TABLE fieval_claims (
	run_id VARCHAR(80) NOT NULL, 
	chunk INTEGER NOT NULL, 
	owner VARCHAR(200) NOT NULL, 
	until DATETIME NOT NULL, 
	PRIMARY KEY (run_id, chunk), 
	FOREIGN KEY(run_id) REFERENCES fieval_runs (run_id) ON DELETE CASCADE
);
INSERT INTO "fieval_claims" VALUES('older',0,'an-earlier-process','2026-08-01 12:01:10.000000');
INSERT INTO "fieval_claims" VALUES('older',1,'an-earlier-process','2026-08-01 12:01:10.000000');
INSERT INTO "fieval_claims" VALUES('older',2,'an-earlier-process','2026-08-01 12:01:10.000000');
CREATE TABLE fieval_conclusions (
	run_id VARCHAR(80) NOT NULL, 
	n INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	exit_code INTEGER, 
	standing JSON NOT NULL, 
	PRIMARY KEY (n), 
	FOREIGN KEY(run_id) REFERENCES fieval_runs (run_id) ON DELETE CASCADE
);
INSERT INTO "fieval_conclusions" VALUES('older',1,'2026-08-01 12:00:29.000000',3,'{"items": {"total": 15, "scored": 3, "failed": 3, "pending": 9, "skipped": 0, "reused": 0}, "checks": {"helpful": {"n": 15, "scored": 3, "passed": 2, "pass_rate": 0.6666666666666666, "mean": 0.6666666666666666}}, "requests": {"submits": 5, "polls": 7, "retries": 2, "throttled": 1, "possible_duplicates": 1}}');
CREATE TABLE fieval_events (
	run_id VARCHAR(80) NOT NULL, 
	n INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	at DATETIME NOT NULL, 
	event VARCHAR(30) NOT NULL, 
	detail TEXT NOT NULL, 
	PRIMARY KEY (n), 
	FOREIGN KEY(run_id) REFERENCES fieval_runs (run_id) ON DELETE CASCADE
);
INSERT INTO "fieval_events" VALUES('older',1,5,'2026-08-01 12:00:19.000000','throttled','2');
INSERT INTO "fieval_events" VALUES('older',2,6,'2026-08-01 12:00:19.000000','throttled','2');
INSERT INTO "fieval_events" VALUES('older',3,4,'2026-08-01 12:00:20.000000','evaluation_error','the judge fell over');
INSERT INTO "fieval_events" VALUES('older',4,8,'2026-08-01 12:00:22.000000','lost_reply','ReadError');
INSERT INTO "fieval_events" VALUES('older',5,9,'2026-08-01 12:00:22.000000','lost_reply','ReadError');
INSERT INTO "fieval_events" VALUES('older',6,9,'2026-08-01 12:00:24.000000','lost_reply','ReadError');
CREATE TABLE fieval_items (
	run_id VARCHAR(80) NOT NULL, 
	seq INTEGER NOT NULL, 
	chunk INTEGER NOT NULL, 
	state VARCHAR(10) NOT NULL, 
	item_id TEXT NOT NULL, 
	"row" INTEGER NOT NULL, 
	check_name TEXT NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	inputs TEXT NOT NULL, 
	same_as INTEGER, 
	attempts INTEGER NOT NULL, 
	lost INTEGER NOT NULL, 
	redone INTEGER NOT NULL, 
	polls INTEGER NOT NULL, 
	sent_at DATETIME, 
	eval_id TEXT, 
	submitted_at DATETIME, 
	finished_at DATETIME, 
	value TEXT, 
	score FLOAT, 
	passed BOOLEAN, 
	reason TEXT, 
	runtime_ms FLOAT, 
	stage VARCHAR(10), 
	error_kind VARCHAR(40), 
	error_message TEXT, 
	kept TEXT, 
	params TEXT, 
	doubts INTEGER DEFAULT '0' NOT NULL, 
	resend_if_unknown BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (run_id, seq), 
	FOREIGN KEY(run_id) REFERENCES fieval_runs (run_id) ON DELETE CASCADE
);
INSERT INTO "fieval_items" VALUES('older',0,0,'scored','r1',1,'helpful','011c54935d656e472b0b8f8b71fae1d497105626b9c7e5b78072d770af74f54f','{"output": "scored passed"}',NULL,1,0,0,2,'2026-08-01 12:00:12.000000','00000000-0000-4000-8000-000000000000','2026-08-01 12:00:13.000000','2026-08-01 12:00:15.000000','"Passed"',1.0,1,'It helps.',12.5,NULL,NULL,NULL,'{"note": "note 1"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',1,0,'scored','r2',2,'helpful','6c4f56f8d3b9830b5c219863b6bebede320e7b5a621226a7802407420101317b','{"output": "scored and bad"}',NULL,1,0,0,1,'2026-08-01 12:00:12.000000','00000000-0000-4000-8000-000000000001','2026-08-01 12:00:13.000000','2026-08-01 12:00:17.000000','"Failed"',0.0,0,'It does not.',7.0,NULL,NULL,NULL,'{"note": "note 2"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',2,0,'failed','r3',3,'helpful','60245d10e2317a00c0e1944e6210697e8845b94b9ef9e0ec5f4a00c3c4a3cf0f','{}',NULL,0,0,0,0,NULL,NULL,NULL,'2026-08-01 12:00:02.000000',NULL,NULL,NULL,NULL,NULL,'validate','blank','row 3: ''output'' (column ''answer'') is blank','{"note": "note 3"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',3,0,'failed','r4',4,'helpful','dc2e37ff645382653cb8095d871dfd989d869351e445a39b302fe1419113d0d5','{"output": "refused by the server"}',NULL,1,0,0,0,'2026-08-01 12:00:12.000000',NULL,NULL,'2026-08-01 12:00:14.000000',NULL,NULL,NULL,NULL,NULL,'submit','refused','the server will not take these inputs','{"note": "note 4"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',4,0,'failed','r5',5,'helpful','61c8f8c5bd49b550fcced6ccc7b8dc230a661f62c66735ac57d5bd826c380942','{"output": "its evaluation failed"}',NULL,1,0,0,1,'2026-08-01 12:00:12.000000','00000000-0000-4000-8000-000000000004','2026-08-01 12:00:13.000000','2026-08-01 12:00:18.000000',NULL,NULL,NULL,NULL,NULL,'evaluate','evaluation_error','the judge fell over','{"note": "note 5"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',5,0,'submitted','r6',6,'helpful','72868b0751be4dd61576ebaa69c3fe543f5cfa4f47901f42cbbf3409d8c8890b','{"output": "waits for its verdict"}',NULL,1,0,0,2,'2026-08-01 12:00:12.000000','00000000-0000-4000-8000-000000000005','2026-08-01 12:00:13.000000',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"note": "note 6"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',6,1,'submitted','r7',7,'helpful','64ccc6dbe7ec48f91b58d8eb59565e76753d910699eef1eb6f079b7171cfeb37','{"output": "waits, too"}',NULL,1,0,0,0,'2026-08-01 12:00:12.000000','00000000-0000-4000-8000-000000000006','2026-08-01 12:00:13.000000',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"note": "note 7"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',7,1,'submitted','r8',8,'helpful','910072055e75584af8d45b06485e9fc0530f06fe8bd2d9a88bfc9083792bf7a2','{"output": "a bad answer that waits"}',NULL,1,0,0,0,'2026-08-01 12:00:12.000000','00000000-0000-4000-8000-000000000007','2026-08-01 12:00:13.000000',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"note": "note 8"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',8,1,'ambiguous','r9',9,'helpful','b44861dfa1cf41e17ede071da858f704a04d627039680396a43955e83b425bb2','{"output": "reply lost"}',NULL,1,1,0,0,'2026-08-01 12:00:21.000000',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"note": "note 9"}',NULL,1,0);
INSERT INTO "fieval_items" VALUES('older',9,1,'ambiguous','r10',10,'helpful','6266d11ec08b4960d1c40c0906bf95efedd418cd3592722312df81b1990fc293','{"output": "lost twice"}',NULL,2,2,0,0,'2026-08-01 12:00:23.000000',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"note": "note 10"}',NULL,2,0);
INSERT INTO "fieval_items" VALUES('older',10,1,'sending','r11',11,'helpful','6cd7b524eeac79c700375b2524faf110e57cf1ca8446e6148209742cf33d48a5','{"output": "was on its way"}',NULL,1,0,0,0,'2026-08-01 12:00:25.000000',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"note": "note 11"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',11,1,'ready','r12',12,'helpful','f2b56eab5bef8abd989437ca8e54dcc922a42c68e2e62b71a8b6e8bb5cf01b63','{"output": "not sent"}',NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"note": "note 12"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',12,2,'ready','r13',13,'helpful','4925f55d0b8bf880a7e42614d53d634ddf2eda808e7e2adf26fe697b15bf60c3','{"output": "not sent, and bad"}',NULL,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"note": "note 13"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',13,2,'scored','r14',14,'helpful','011c54935d656e472b0b8f8b71fae1d497105626b9c7e5b78072d770af74f54f','{"output": "scored passed"}',0,0,0,0,0,NULL,'00000000-0000-4000-8000-000000000000',NULL,'2026-08-01 12:00:16.000000','"Passed"',1.0,1,'It helps.',12.5,NULL,NULL,NULL,'{"note": "note 14"}',NULL,0,0);
INSERT INTO "fieval_items" VALUES('older',14,2,'ready','r15',15,'helpful','72868b0751be4dd61576ebaa69c3fe543f5cfa4f47901f42cbbf3409d8c8890b','{"output": "waits for its verdict"}',5,0,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"note": "note 15"}',NULL,0,0);
CREATE TABLE fieval_runs (
	run_id VARCHAR(80) NOT NULL, 
	created_at DATETIME NOT NULL, 
	dataset TEXT NOT NULL, 
	dataset_fingerprint VARCHAR(64) NOT NULL, 
	mode VARCHAR(10) NOT NULL, 
	connection TEXT NOT NULL, 
	checks JSON NOT NULL, 
	"plan" JSON NOT NULL, 
	notices JSON NOT NULL, 
	total INTEGER NOT NULL, 
	flow_run_id VARCHAR(40), 
	started_at DATETIME, 
	finished_at DATETIME, 
	wall_seconds FLOAT NOT NULL, 
	exit_code INTEGER, 
	submits INTEGER NOT NULL, 
	polls INTEGER NOT NULL, 
	retries INTEGER NOT NULL, 
	throttled INTEGER NOT NULL, 
	possible_duplicates INTEGER NOT NULL, 
	begun_by VARCHAR(40), 
	address TEXT, 
	account VARCHAR(120), 
	is_whole BOOLEAN DEFAULT 1 NOT NULL, 
	PRIMARY KEY (run_id)
);
INSERT INTO "fieval_runs" VALUES('older','2026-08-01 12:00:01.000000','answers.jsonl','0a61b5a4897362fd719a462571b50f9ea0187361103bd3ba9415057e40a55c12','async','local','[{"name": "helpful", "template": "is_helpful", "model": "turing_flash", "params": {}, "output": "Pass/Fail", "sources": {"output": "answer"}, "models": [], "param_sources": {}}]','{"dataset": "answers.jsonl", "checks": [{"template": "is_helpful", "model": null, "params": {}, "name": "helpful"}], "mapping": {"output": "answer"}, "gates": ["helpful.pass_rate >= 0.5", "failures <= 4"], "limit": null, "connection": "local", "id_column": "id", "allow_failures": null, "mode": "async", "sample": null, "seed": 0, "sharing": true, "format": null, "delimiter": null, "rows": null, "concurrency": 96, "rate": "50/s", "shared_limit": null, "timeout": null, "item_timeout": 600.0, "run": "older", "keep": ["note"], "output": null, "base_url": null, "chunk_size": 6, "ambiguous": null, "orphans": null}','["a notice of its connection"]',15,'11111111-2222-3333-4444-555555555555','2026-08-01 12:00:08.000000',NULL,42.5,3,5,7,2,1,0,'11111111-2222-3333-4444-555555555555','local',NULL,1);
CREATE TABLE fieval_schema (
	version INTEGER NOT NULL
);
INSERT INTO "fieval_schema" VALUES(4);
CREATE TABLE fieval_writers (
	run_id VARCHAR(80) NOT NULL, 
	owner VARCHAR(200) NOT NULL, 
	commits INTEGER NOT NULL, 
	deposed_by VARCHAR(200), 
	PRIMARY KEY (run_id, owner), 
	FOREIGN KEY(run_id) REFERENCES fieval_runs (run_id) ON DELETE CASCADE
);
INSERT INTO "fieval_writers" VALUES('older','writer',2,NULL);
INSERT INTO "fieval_writers" VALUES('older','an-earlier-process',10,NULL);
INSERT INTO "fieval_writers" VALUES('older','reporter',0,NULL);
CREATE INDEX fieval_items_by_state ON fieval_items (run_id, state);
CREATE INDEX fieval_items_by_eval_id ON fieval_items (run_id, eval_id) WHERE eval_id IS NOT NULL;
CREATE INDEX fieval_items_by_chunk ON fieval_items (run_id, chunk);
CREATE INDEX fieval_items_in_doubt ON fieval_items (run_id) WHERE doubts > 0;
CREATE INDEX fieval_events_by_item ON fieval_events (run_id, seq);
CREATE INDEX ix_fieval_conclusions_run_id ON fieval_conclusions (run_id);
COMMIT;
