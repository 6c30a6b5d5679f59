// The users of the tests, in a new container that knows `admin`. The runner
// puts the passwords before this, as `passwords`.
const admin = db.getSiblingDB("admin");
const everything = ["root"];
admin.createUser({ user: "app", pwd: passwords.app, roles: everything });
admin.createUser({ user: "tls", pwd: passwords.tls, roles: everything });
admin.createUser({ user: "reader", pwd: passwords.reader, roles: ["readAnyDatabase"] });
db.getSiblingDB("$external").createUser({ user: "CN=semilayer-client", roles: everything.map((role) => ({ role, db: "admin" })) });
