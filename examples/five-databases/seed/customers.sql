-- PostgreSQL
CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    tier text NOT NULL,
    since timestamptz NOT NULL
);

INSERT INTO customers VALUES
    (1, 'Ada Lovelace', 'ada@example.com', 'silver', '2016-01-01T08:00:00Z'),
    (2, 'Grace Hopper', 'grace@example.com', 'bronze', '2017-02-01T08:00:00Z'),
    (3, 'Edsger Dijkstra', 'edsger@example.com', 'gold', '2018-03-01T08:00:00Z'),
    (4, 'Barbara Liskov', 'barbara@example.com', 'silver', '2019-04-01T08:00:00Z'),
    (5, 'Donald Knuth', 'donald@example.com', 'bronze', '2020-05-01T08:00:00Z'),
    (6, 'Radia Perlman', 'radia@example.com', 'gold', '2021-06-01T08:00:00Z'),
    (7, 'Ken Thompson', 'ken@example.com', 'silver', '2022-07-01T08:00:00Z'),
    (8, 'Margaret Hamilton', 'margaret@example.com', 'bronze', '2023-08-01T08:00:00Z'),
    (9, 'Leslie Lamport', 'leslie@example.com', 'gold', '2015-09-01T08:00:00Z'),
    (10, 'Frances Allen', 'frances@example.com', 'silver', '2016-10-01T08:00:00Z'),
    (11, 'Tony Hoare', 'tony@example.com', 'bronze', '2017-11-01T08:00:00Z'),
    (12, 'Karen Jones', 'karen@example.com', 'gold', '2018-12-01T08:00:00Z');
