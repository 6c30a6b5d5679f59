SELECT t."cuisine", t."id" AS k0 FROM "shop"."facts" t WHERE (strftime('%Y-%m-%dT%H:%M:%fZ', iif(typeof(t."createdAt") = 'text', t."createdAt", t."createdAt" / 1000.0), iif(typeof(t."createdAt") = 'text', '+0 days', 'unixepoch')) > ?) AND (t."id" > ?) ORDER BY t."id" LIMIT ?
-- 1: Text("2026-01-02T03:04:05.000Z") beside None
-- 2: Integer(42) beside Some(Integer { bits: 64, signed: true })
-- 3: Integer(3) beside None
-- a page of 2; cursor from columns [1], of which 1 hidden
