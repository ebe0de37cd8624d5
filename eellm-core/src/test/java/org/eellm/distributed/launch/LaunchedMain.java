package org.eellm.distributed.launch;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import org.jline.utils.Signals;

/** A process for {@link LocalLauncherTest} that does as its first argument says. */
final class LaunchedMain {
  private LaunchedMain() {}

  public static void main(String[] args) throws Exception {
    String rank = System.getenv("RANK");
    Path folder = Path.of(args[1]);
    switch (args[0]) {
      case "talk" -> {
        System.out.println("result of " + rank + " of " + System.getenv("WORLD_SIZE"));
        System.err.println("note of " + rank);
      }
      case "threads" ->
          System.out.println(
              System.getenv("OMP_NUM_THREADS")
                  + " "
                  + Runtime.getRuntime().availableProcessors()
                  + " "
                  + System.getenv("MALLOC_ARENA_MAX"));
      case "fail" -> {
        if (rank.equals("1")) {
          System.err.println("eellm: out of luck");
          System.exit(3);
        }
        Thread.sleep(60_000);
      }
      case "usage" -> System.exit(2);
      case "killed" -> {
        if (rank.equals("1")) {
          new ProcessBuilder("kill", "-KILL", Long.toString(ProcessHandle.current().pid())).start();
        }
        Thread.sleep(60_000);
      }
      case "once" -> {
        Path mark = folder.resolve("failed-" + rank);
        if (Files.notExists(mark)) {
          Files.createFile(mark);
          System.exit(1);
        }
        System.out.println("done " + args[2]);
      }
      case "save" -> {
        CountDownLatch signal = new CountDownLatch(1);
        Signals.register("TERM", signal::countDown);
        Files.createFile(folder.resolve("ready-" + rank));
        signal.await();
        System.err.println("saving " + rank);
        Files.createFile(folder.resolve("saved-" + rank));
      }
      default -> throw new IllegalArgumentException(args[0]);
    }
    System.exit(0);
  }
}
