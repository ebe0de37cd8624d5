package org.eellm.distributed.launch;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import java.util.function.IntUnaryOperator;
import org.eellm.distributed.DistributedException;

/**
 * Starts the ranks of one machine as processes of this same program, and looks after them until all
 * have ended. Under a scheduler it starts those of its place: one rank, or all of a node.
 *
 * <p>Each finds its place in torchrun's variables. Rank 0's stdout becomes this process's; every
 * other line is told with its rank in front. When a rank fails, the others are ended and, where
 * that is allowed, all are started again.
 */
public final class LocalLauncher {
  /** Set for every rank: a launcher looks after it. */
  public static final String VARIABLE = "EELLM_LAUNCHER";

  public static final String LOOPBACK = "127.0.0.1";

  /** A system property of ranks that are more than the processors. */
  public static final String CROWDED = "eellm.ranks.crowded";

  /** The exit code of wrong use, which no restart mends. */
  private static final int USAGE = 2;

  /** Between asking a process to end and killing it. */
  private static final Duration GRACE = Duration.ofSeconds(10);

  private static final int FIRST_SIGNAL = 128;

  /** Begins a line that says why a command failed. */
  private static final String ERROR = "eellm: ";

  /** How the launcher script keeps big buffers in the process; see {@code eellm}. */
  private static final Map<String, String> MEMORY =
      Map.of(
          "MALLOC_MMAP_MAX_", "0",
          "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1",
          "MALLOC_TRIM_THRESHOLD_", "8589934592",
          "MALLOC_ARENA_MAX", "1");

  private final Job job;
  private final PrintWriter out;
  private final PrintWriter err;
  private final List<Rank> running = new CopyOnWriteArrayList<>();
  private final BlockingQueue<RankExit> ended = new LinkedBlockingQueue<>();
  private final AtomicInteger stops = new AtomicInteger();

  /**
   * The ranks to start.
   *
   * @param ranks of attempt 0, 1, ...
   * @param dialogue whether rank 0 talks over this process's own standard streams
   * @param place of this process, as a scheduler has said it, or {@link RankInfo#ALONE}
   */
  private record Job(IntUnaryOperator ranks, boolean dialogue, RankInfo place) {
    int ranks(int attempt) {
      return ranks.applyAsInt(attempt);
    }

    boolean isScheduled() {
      return !place.equals(RankInfo.ALONE);
    }

    /** Whether a scheduler has started this process for one rank, and speaks of it by itself. */
    boolean isScheduledRank() {
      return isScheduled() && ranks(0) == 1;
    }
  }

  /** A process, the threads that read its output, and the last error it told. */
  private record Rank(
      int number, Process process, List<Thread> pumps, AtomicReference<String> error) {

    /** Through the handle: {@link Process#destroy} closes the streams, and last words are lost. */
    void terminate() {
      process.toHandle().destroy();
    }

    void kill() {
      process.toHandle().destroyForcibly();
    }
  }

  private record RankExit(Rank rank, int exitCode) {}

  private LocalLauncher(Job job, PrintWriter out, PrintWriter err) {
    this.job = job;
    this.out = out;
    this.err = err;
  }

  /**
   * A launcher, of which nothing runs yet. Where a scheduler starts one on each of several nodes,
   * or for each rank, a failure of one fails all others, and all start theirs again.
   *
   * @param ranks how many processes to start in attempt 0, 1, ...; always the same under a
   *     scheduler
   * @param place of this process, as a scheduler has said it, or {@link RankInfo#ALONE}
   * @param out gets what rank 0 writes to stdout
   * @param err gets all other lines, and what the launcher itself has to say
   */
  public static LocalLauncher ofAttempts(
      IntUnaryOperator ranks, RankInfo place, PrintWriter out, PrintWriter err) {
    return new LocalLauncher(new Job(ranks, false, place), out, err);
  }

  /** A launcher whose rank 0 talks to the user: it has this process's own standard streams. */
  public static LocalLauncher ofDialogue(
      int ranks, RankInfo place, PrintWriter out, PrintWriter err) {
    return new LocalLauncher(new Job(_ -> ranks, true, place), out, err);
  }

  /**
   * The command that runs a class of this program, with this process's own options and class path,
   * and with its share of the processors.
   */
  public static List<String> sameProgram(String mainClass, List<String> arguments, int ranks) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
        .filter(option -> !option.startsWith("-agentlib:jdwp")) // Ranks cannot share its port.
        .forEach(command::add);
    command.add("-XX:ActiveProcessorCount=" + share(ranks));
    if (ranks > Runtime.getRuntime().availableProcessors()) {
      command.add("-D" + CROWDED + "=true");
    }
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    command.add(mainClass);
    command.addAll(arguments);
    return command;
  }

  private static int share(int ranks) {
    return Math.max(1, Runtime.getRuntime().availableProcessors() / ranks);
  }

  /**
   * Runs all ranks to their end.
   *
   * @param command the command of the ranks of attempt 0, 1, ...
   * @param maxRestarts how often to start all again after one has failed
   * @return 0 if all ranks returned that, otherwise the exit code of the first that did not
   */
  public int run(IntFunction<List<String>> command, int maxRestarts) {
    for (int attempt = 0; ; attempt++) {
      Optional<RankExit> failure = runOnce(command.apply(attempt), attempt);
      if (failure.isEmpty()) {
        return 0;
      }
      RankExit first = failure.get();
      boolean again = attempt < maxRestarts && first.exitCode() != USAGE && !isStopping();
      tell(
          "%srank %d %s%s; %s"
              .formatted(
                  ERROR,
                  first.rank().number(),
                  describe(first.exitCode()),
                  first.rank().error().get(),
                  again
                      ? "starting %s again (%d of %d)"
                          .formatted(again(attempt + 1), attempt + 1, maxRestarts)
                      : end()));
      if (!again) {
        return first.exitCode();
      }
    }
  }

  /** The ranks that an attempt starts, in words. */
  private String again(int attempt) {
    int count = job.ranks(attempt);
    if (job.isScheduled()) {
      return job.isScheduledRank() ? "it" : "the %d ranks of this node".formatted(count);
    }
    return count == job.ranks(attempt - 1)
        ? "all ranks"
        : "%d %s".formatted(count, count == 1 ? "rank" : "ranks");
  }

  private String end() {
    if (job.isScheduledRank()) {
      return "no restart is left";
    }
    return job.isScheduled() ? "all ranks of this node have ended" : "all ranks have ended";
  }

  /**
   * Asks all ranks to end in good order (SIGTERM), and starts them no more. From the second call
   * on, they have little time for it.
   */
  public synchronized void stop() {
    stops.incrementAndGet();
    running.forEach(Rank::terminate);
  }

  /** Obeys Ctrl-C as {@link #stop}, unless rank 0 is talking, who gets it from the terminal. */
  public void interrupt() {
    if (!job.dialogue()) {
      stop();
    }
  }

  private boolean isStopping() {
    return stops.get() > 0;
  }

  /** Runs the ranks once; the first that failed, if one did. */
  private Optional<RankExit> runOnce(List<String> command, int attempt) {
    try {
      start(command, attempt);
      return supervise();
    } catch (IOException e) {
      throw new DistributedException("cannot start a rank: " + e.getMessage(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new DistributedException("interrupted while ranks were running", e);
    } finally {
      running.forEach(Rank::kill);
      running.clear();
      ended.clear();
    }
  }

  /** Excludes {@link #stop}, so that each rank is asked to end once. */
  private synchronized void start(List<String> command, int attempt) throws IOException {
    // Under a scheduler a rank of the attempt before may still listen at its port.
    int port = job.isScheduled() ? job.place().port() + attempt : freePort();
    for (RankInfo place : job.place().split(job.ranks(attempt))) {
      ProcessBuilder builder = new ProcessBuilder(command);
      Map<String, String> environment = builder.environment();
      MEMORY.forEach(environment::putIfAbsent);
      if (!job.isScheduledRank()) {
        environment.putIfAbsent("OMP_NUM_THREADS", Integer.toString(share(job.ranks(attempt))));
      }
      environment.put("RANK", Integer.toString(place.rank()));
      environment.put("WORLD_SIZE", Integer.toString(place.size()));
      environment.put("LOCAL_RANK", Integer.toString(place.localRank()));
      environment.put("LOCAL_WORLD_SIZE", Integer.toString(place.localWorldSize()));
      environment.put("MASTER_ADDR", place.host());
      environment.put("MASTER_PORT", Integer.toString(port));
      environment.remove("TORCHELASTIC_USE_AGENT_STORE");
      environment.put(VARIABLE, Long.toString(ProcessHandle.current().pid()));
      boolean speaks = job.dialogue() && place.rank() == 0;
      if (speaks) {
        builder.inheritIO();
      }
      Process process = builder.start();
      if (!speaks) {
        process.getOutputStream().close(); // nobody writes to it
      }
      Rank started =
          speaks
              ? new Rank(place.rank(), process, List.of(), new AtomicReference<>(""))
              : watch(place.rank(), process);
      running.add(started);
      daemon(() -> awaitEnd(started));
    }
    if (isStopping()) {
      running.forEach(Rank::terminate);
    }
  }

  /** A port nobody listens on; somebody else may take it meanwhile, but that is rare. */
  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.ofLiteral(LOOPBACK))) {
      return socket.getLocalPort();
    }
  }

  private Rank watch(int number, Process process) {
    String prefix = job.isScheduledRank() ? "" : "[rank " + number + "] ";
    AtomicReference<String> error = new AtomicReference<>("");
    Thread stdout =
        pump(
            process.getInputStream(),
            line -> {
              if (number == 0 || job.isScheduledRank()) {
                out.println(line);
                out.flush();
              } else {
                tell(prefix + line);
              }
            });
    Thread stderr =
        pump(
            process.getErrorStream(),
            line -> {
              if (line.startsWith(ERROR)) {
                error.set(" (" + line.substring(ERROR.length()) + ")");
              }
              tell(prefix + line);
            });
    return new Rank(number, process, List.of(stdout, stderr), error);
  }

  private static Thread pump(InputStream from, Consumer<String> to) {
    return daemon(
        () -> {
          try (var lines =
              new BufferedReader(new InputStreamReader(from, StandardCharsets.UTF_8))) {
            lines.lines().forEach(to);
          } catch (IOException | UncheckedIOException _) {
            // The process was killed.
          }
        });
  }

  private void awaitEnd(Rank rank) {
    try {
      ended.add(new RankExit(rank, rank.process().waitFor()));
    } catch (InterruptedException _) {
      Thread.currentThread().interrupt();
    }
  }

  /** A thread of its own: those of pools shared with the program may all be busy. */
  private static Thread daemon(Runnable work) {
    return Thread.ofPlatform().daemon().start(work);
  }

  private void tell(String line) {
    err.println(line);
    err.flush();
  }

  private Optional<RankExit> supervise() throws InterruptedException {
    Optional<RankExit> failure = Optional.empty();
    int left = running.size();
    long ending = 0;
    while (left > 0) {
      Optional<RankExit> next = Optional.ofNullable(ended.poll(100, TimeUnit.MILLISECONDS));
      if (next.isPresent()) {
        left--;
        joinPumps(next.get().rank());
        if (next.get().exitCode() != 0 && failure.isEmpty()) {
          failure = next;
          running.forEach(Rank::terminate);
        }
      }
      boolean hasToEnd = failure.isPresent() || stops.get() > 1;
      if (hasToEnd && ending == 0) {
        ending = System.nanoTime();
      }
      if (hasToEnd && Durations.sinceNanos(ending).compareTo(GRACE) > 0) {
        running.forEach(Rank::kill);
      }
    }
    return failure;
  }

  private static void joinPumps(Rank rank) throws InterruptedException {
    for (Thread pump : rank.pumps()) {
      pump.join(GRACE); // A grandchild may hold the stream open.
    }
  }

  private static String describe(int exitCode) {
    if (exitCode <= FIRST_SIGNAL) {
      return "ended with exit code " + exitCode;
    }
    int signal = exitCode - FIRST_SIGNAL;
    return "was ended by "
        + switch (signal) {
          case 2 -> "SIGINT";
          case 6 -> "SIGABRT";
          case 9 -> "SIGKILL";
          case 11 -> "SIGSEGV";
          case 15 -> "SIGTERM";
          default -> "signal " + signal;
        };
  }
}
