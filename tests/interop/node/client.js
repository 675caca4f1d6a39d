// node-zookeeper-client as a program; the commands stand at the head of ../kazoo_client.py. It has no recipes.
'use strict';
const readline = require('readline');
const zookeeper = require('node-zookeeper-client');

const MODES = {p: 0, e: 1, s: 2, es: 3};
const NOT_CONNECTED = -4;
let client;

function say(line) {
    process.stdout.write(line + '\n');
}

// A function of the client's that ends in a callback, as a promise of what the callback is given.
function call(of, name, ...given) {
    return new Promise((resolve, reject) => {
        of[name](...given, (error, ...results) => error ? reject(error) : resolve(results));
    });
}

const COMMANDS = {
    connect(hosts, milliseconds) {
        client = zookeeper.createClient(hosts, {sessionTimeout: Number(milliseconds), spinDelay: 100});
        return new Promise((resolve) => {
            client.once('connected', resolve);
            client.connect();
        });
    },
    async session() {
        if (client.getState() !== zookeeper.State.SYNC_CONNECTED) {
            throw {getCode: () => NOT_CONNECTED};
        }
        return BigInt('0x' + client.getSessionId().toString('hex')).toString(16);
    },
    async auth(credentials) {
        client.addAuthInfo('digest', Buffer.from(credentials));
    },
    async create(path, data, mode, acl) {
        const whose = acl === 'creator' ? zookeeper.ACL.CREATOR_ALL_ACL : zookeeper.ACL.OPEN_ACL_UNSAFE;
        return (await call(client, 'create', path, Buffer.from(data), whose, MODES[mode]))[0];
    },
    async get(path) {
        const [data, stat] = await call(client, 'getData', path);
        return `${data} ${stat.version}`;
    },
    async set(path, data, version) {
        await call(client, 'setData', path, Buffer.from(data), Number(version));
    },
    async delete(path) {
        await call(client, 'remove', path, -1);
    },
    async children(path) {
        return (await call(client, 'getChildren', path))[0].sort().join(' ');
    },
    async watch(path) {
        await call(client, 'getData', path, () => say(`event ${path}`));
    },
    async multi(path) {
        const transaction = client.transaction().create(`${path}/a`, Buffer.from('one'))
            .create(`${path}/b`, Buffer.from('one')).setData(`${path}/a`, Buffer.from('two'));
        await call(transaction, 'commit');
    },
    async badmulti(path) {
        await call(client.transaction().create(`${path}/c`, Buffer.from('one')).remove(`${path}/none`), 'commit');
    },
    quit() {
        return new Promise((resolve) => {
            client.once('disconnected', resolve);
            client.close();
        });
    },
};

async function main() {
    for await (const line of readline.createInterface({input: process.stdin})) {
        const [name, ...words] = line.split(' ');
        try {
            const answer = await COMMANDS[name](...words);
            say(answer === undefined ? 'ok' : `ok ${answer}`);
        } catch (error) {
            if (typeof error.getCode !== 'function') {
                throw error;
            }
            say(`error ${error.getCode()}`);
        }
        if (name === 'quit') {
            return;
        }
    }
}

main().then(() => process.exit(0));
