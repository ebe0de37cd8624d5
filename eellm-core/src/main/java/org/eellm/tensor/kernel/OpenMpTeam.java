package org.eellm.tensor.kernel;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.tensor.TensorException;
import org.eellm.tensor.Torch;

/**
 * The threads that libtorch's operations of this thread run on, for loops in Java. libtorch's CPU
 * operations run on GNU OpenMP; its threads wait for the next operation spinning, so that threads
 * of our own would have to fight them for the cores. A parallel region costs about a microsecond.
 *
 * <p>Where libtorch runs on another OpenMP, the calling thread does everything.
 */
final class OpenMpTeam {
  private static final Optional<OpenMp> OPEN_MP = OpenMp.find();
  private static final ThreadLocal<OpenMpTeam> CURRENT = ThreadLocal.withInitial(OpenMpTeam::new);

  private final MemorySegment entry;
  private volatile Range range = new Range(0, 1, (member, from, to) -> {});
  private volatile Throwable failure = NONE;

  private static final Throwable NONE = new Throwable();

  /** A member's part of a loop. */
  @FunctionalInterface
  public interface LoopBody {
    /**
     * Does indices {@code from} to {@code to - 1}.
     *
     * @param member from 0, below {@link #size()}
     */
    void run(int member, int from, int to);
  }

  private record Range(int count, int grain, LoopBody part) {}

  private OpenMpTeam() {
    entry = OPEN_MP.map(openMp -> OpenMp.entry(this::member)).orElse(MemorySegment.NULL);
  }

  /** The most members a region of the calling thread has. */
  public static int size() {
    return OPEN_MP.isPresent() ? Torch.threads() : 1;
  }

  /**
   * Runs {@code part} over 0 to {@code count - 1}, cut evenly among the members. The part must not
   * start a region of its own.
   *
   * @param grain indices that are worth a member
   */
  public static void parallelFor(int count, int grain, LoopBody part) {
    if (OPEN_MP.isEmpty() || count <= grain) {
      part.run(0, 0, count);
    } else {
      CURRENT.get().fork(OPEN_MP.get(), new Range(count, grain, part));
    }
  }

  private void fork(OpenMp openMp, Range work) {
    range = work;
    openMp.parallel(entry);
    Throwable thrown = failure;
    if (thrown != NONE) {
      failure = NONE;
      throw new TensorException("a kernel failed: " + thrown, thrown);
    }
  }

  /** The function that each member calls; nothing may be thrown into native code. */
  private void member() {
    try {
      OpenMp openMp = OPEN_MP.orElseThrow();
      int count = range.count();
      int members = Math.min(openMp.members(), Math.ceilDiv(count, range.grain()));
      int member = openMp.member();
      if (member < members) {
        int from = (int) ((long) count * member / members);
        int to = (int) ((long) count * (member + 1) / members);
        range.part().run(member, from, to);
      }
    } catch (Throwable thrown) {
      failure = thrown;
    }
  }

  /** GNU OpenMP's entry points. */
  private record OpenMp(MethodHandle regions, MethodHandle number, MethodHandle size) {

    /**
     * The library that libtorch has loaded. MKL's own has the same names, so ask for it by path.
     */
    static Optional<OpenMp> find() {
      Torch.threads(); // Loads libtorch, and OpenMP with it.
      try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
        return maps.filter(line -> line.contains("/libgomp"))
            .findFirst()
            .map(line -> Path.of(line.substring(line.indexOf('/'))))
            .map(path -> of(SymbolLookup.libraryLookup(path, Arena.global())));
      } catch (IOException e) {
        return Optional.empty(); // Not Linux.
      }
    }

    private static OpenMp of(SymbolLookup library) {
      FunctionDescriptor parallel =
          FunctionDescriptor.ofVoid(
              ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.JAVA_INT, ValueLayout.JAVA_INT);
      return new OpenMp(
          Linker.nativeLinker().downcallHandle(library.findOrThrow("GOMP_parallel"), parallel),
          counter(library, "omp_get_thread_num"),
          counter(library, "omp_get_num_threads"));
    }

    private static MethodHandle counter(SymbolLookup library, String name) {
      return Linker.nativeLinker()
          .downcallHandle(
              library.findOrThrow(name),
              FunctionDescriptor.of(ValueLayout.JAVA_INT),
              Linker.Option.critical(false));
    }

    /** A native function that runs {@code body}. */
    static MemorySegment entry(Runnable body) {
      try {
        MethodHandle run =
            MethodHandles.lookup()
                .findVirtual(Runnable.class, "run", MethodType.methodType(void.class))
                .bindTo(body);
        return Linker.nativeLinker()
            .upcallStub(
                MethodHandles.dropArguments(run, 0, MemorySegment.class),
                FunctionDescriptor.ofVoid(ValueLayout.ADDRESS),
                Arena.ofAuto());
      } catch (ReflectiveOperationException e) {
        throw new LinkageError("Runnable.run", e);
      }
    }

    /** Calls {@code entry} on every thread of the calling thread's team. */
    void parallel(MemorySegment entry) {
      try {
        regions.invokeExact(entry, MemorySegment.NULL, 0, 0);
      } catch (Throwable e) {
        throw new LinkageError("GOMP_parallel", e);
      }
    }

    int member() {
      return call(number);
    }

    int members() {
      return call(size);
    }

    private static int call(MethodHandle handle) {
      try {
        return (int) handle.invokeExact();
      } catch (Throwable e) {
        throw new LinkageError("OpenMP", e);
      }
    }
  }
}
