// Apache Curator, and below it ZooKeeper's own Java client, as a program; the commands stand at the head of
// kazoo_client.py. More:
//
//     lead PATH NAME     take part in an election (LeaderSelector); "event NAME" is said when we lead
//     resign             give the leadership up
//     latch PATH NAME    take part in an election of the other kind (LeaderLatch); "event NAME" is said when we lead
//     unlatch            give the leadership up, or stop waiting for it
//     cache PATH         keep a cache of a tree (TreeCache); "event PATH=DATA" is said for each znode and change
//     try KIND PATH MS   acquire a mutex, read, write or semaphore (of one lease); "ok yes", or "ok no" if it takes longer
//     free KIND PATH     release it
//     revoke PATH        ask the holder whose znode this is to give way
//
// As people use it: Curator's retry policy tries again what a lost connection broke.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.CuratorWatcher;
import org.apache.curator.framework.api.transaction.CuratorOp;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;

public class CuratorClient {
    static final Map<String, CreateMode> MODES = Map.of("p", CreateMode.PERSISTENT, "e", CreateMode.EPHEMERAL, "s",
        CreateMode.PERSISTENT_SEQUENTIAL, "es", CreateMode.EPHEMERAL_SEQUENTIAL);
    static final Map<String, InterProcessMutex> locks = new HashMap<>();
    static final Map<String, Callable<Boolean>> releases = new HashMap<>();
    static CuratorFramework client;
    static String hosts;
    static int milliseconds;
    static LeaderSelector selector;
    static volatile CountDownLatch resigned;
    static LeaderLatch latch;

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] data) {
        return data == null ? "" : new String(data, StandardCharsets.UTF_8);
    }

    static void start(String credentials) throws Exception {
        CuratorFrameworkFactory.Builder builder = CuratorFrameworkFactory.builder().connectString(hosts)
            .sessionTimeoutMs(milliseconds).connectionTimeoutMs(milliseconds).retryPolicy(new RetryNTimes(300, 100));
        if (credentials != null) {
            builder.authorization("digest", bytes(credentials));
        }
        client = builder.build();
        client.start();
        if (!client.blockUntilConnected(30, TimeUnit.SECONDS)) {
            throw KeeperException.create(KeeperException.Code.OPERATIONTIMEOUT);
        }
    }

    // Acquires what is of this kind, and returns what releases it; null if it takes longer.
    static Callable<Boolean> tried(String kind, String path, int milliseconds) throws Exception {
        if (kind.equals("semaphore")) {
            InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, path, 1);
            Lease lease = semaphore.acquire(milliseconds, TimeUnit.MILLISECONDS);
            return lease == null ? null : () -> { semaphore.returnLease(lease); return true; };
        }
        InterProcessLock lock = kind.equals("mutex") ? new InterProcessMutex(client, path)
            : kind.equals("read") ? new InterProcessReadWriteLock(client, path).readLock()
            : new InterProcessReadWriteLock(client, path).writeLock();
        return lock.acquire(milliseconds, TimeUnit.MILLISECONDS) ? () -> { lock.release(); return true; } : null;
    }

    static String answer(String[] words) throws Exception {
        String path = words.length > 1 ? words[1] : null;
        switch (words[0]) {
        case "connect":
            hosts = words[1];
            milliseconds = Integer.parseInt(words[2]);
            start(null);
            return "";
        case "session":
            return Long.toHexString(client.getZookeeperClient().getZooKeeper().getSessionId());
        case "auth":
            // Curator wants to know at its start who it is; ZooKeeper's own client can be told at any time.
            client.getZookeeperClient().getZooKeeper().addAuthInfo("digest", bytes(words[1]));
            return "";
        case "create":
            return client.create().withMode(MODES.get(words[3]))
                .withACL(words[4].equals("creator") ? ZooDefs.Ids.CREATOR_ALL_ACL : ZooDefs.Ids.OPEN_ACL_UNSAFE)
                .forPath(path, bytes(words[2]));
        case "get":
            org.apache.zookeeper.data.Stat stat = new org.apache.zookeeper.data.Stat();
            return text(client.getData().storingStatIn(stat).forPath(path)) + " " + stat.getVersion();
        case "set":
            client.setData().withVersion(Integer.parseInt(words[3])).forPath(path, bytes(words[2]));
            return "";
        case "delete":
            client.delete().forPath(path);
            return "";
        case "children":
            List<String> names = new ArrayList<>(client.getChildren().forPath(path));
            Collections.sort(names);
            return String.join(" ", names);
        case "watch":
            client.getData().usingWatcher((CuratorWatcher) event -> {
                if (event.getType() != Watcher.Event.EventType.None) {
                    say("event " + event.getPath());
                }
            }).forPath(path);
            return "";
        case "multi":
            CuratorOp a = client.transactionOp().create().forPath(path + "/a", bytes("one"));
            CuratorOp b = client.transactionOp().create().forPath(path + "/b", bytes("one"));
            client.transaction().forOperations(a, b, client.transactionOp().setData().forPath(path + "/a", bytes("two")));
            return "";
        case "badmulti":
            CuratorOp c = client.transactionOp().create().forPath(path + "/c", bytes("one"));
            client.transaction().forOperations(c, client.transactionOp().delete().forPath(path + "/none"));
            return "";
        case "lock":
            locks.put(path, new InterProcessMutex(client, path));
            locks.get(path).acquire();
            return "";
        case "unlock":
            locks.get(path).release();
            return "";
        case "try":
            Callable<Boolean> release = tried(words[1], words[2], Integer.parseInt(words[3]));
            if (release != null) {
                releases.put(words[1] + words[2], release);
            }
            return release == null ? "no" : "yes";
        case "free":
            releases.remove(words[1] + words[2]).call();
            return "";
        case "revoke":
            Revoker.attemptRevoke(client, path);
            return "";
        case "lead":
            String name = words[2];
            selector = new LeaderSelector(client, path, new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework of) throws Exception {
                    resigned = new CountDownLatch(1);
                    say("event " + name);
                    resigned.await();
                }
            });
            selector.start();
            return "";
        case "resign":
            resigned.countDown();
            return "";
        case "latch":
            latch = new LeaderLatch(client, path, words[2]);
            latch.addListener(new LeaderLatchListener() {
                @Override
                public void isLeader() {
                    say("event " + words[2]);
                }

                @Override
                public void notLeader() {
                }
            });
            latch.start();
            return "";
        case "unlatch":
            latch.close();
            return "";
        case "cache":
            TreeCache cache = new TreeCache(client, path);
            cache.getListenable().addListener((of, event) -> {
                if (event.getData() != null) {
                    say("event " + event.getData().getPath() + "=" + text(event.getData().getData()));
                }
            });
            cache.start();
            return "";
        case "quit":
            if (selector != null) {
                selector.close();
            }
            client.close();
            return "";
        default:
            throw new IllegalArgumentException(words[0]);
        }
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            try {
                say(("ok " + answer(words)).trim());
            } catch (KeeperException error) {
                say("error " + error.code().intValue());
            }
            if (words[0].equals("quit")) {
                System.exit(0);
            }
        }
    }
}
