package org.eellm.data;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.function.Consumer;
import java.util.function.Function;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.corpus.TextCorpus;

/**
 * Works on a corpus with several threads. The calling thread reads batches of pieces and receives
 * their results, in order; where it would wait for one, it works, too. No more than a few batches a
 * thread are in memory.
 */
public final class OrderedBatches {
  private static final int BATCH_LENGTH = 4 * TextCorpus.PIECE_LENGTH; // characters

  private OrderedBatches() {}

  /**
   * @param threads the calling one among them
   * @param work turns a batch into its result, on any thread
   * @param consumer receives the results, on the calling thread
   * @param progress is told how far of the corpus the reading has come, of its size
   */
  public static <R> void process(
      Corpus corpus,
      Corpus.DocumentReader pass,
      int threads,
      Function<List<Corpus.DocumentChunk>, R> work,
      Consumer<R> consumer,
      Progress.Counter progress) {
    Queue<FutureTask<R>> underWay = new ArrayDeque<>();
    ExecutorService helpers = Executors.newFixedThreadPool(Math.max(threads - 1, 1));
    try {
      List<Corpus.DocumentChunk> batch = nextBatch(pass);
      while (!batch.isEmpty()) {
        List<Corpus.DocumentChunk> current = batch;
        FutureTask<R> task = new FutureTask<>(() -> work.apply(current));
        underWay.add(task);
        if (threads > 1) {
          helpers.execute(task);
        }
        if (underWay.size() > 2 * threads) {
          consumer.accept(first(underWay));
        }
        progress.report(pass.position(), corpus.size());
        batch = nextBatch(pass);
      }
      while (!underWay.isEmpty()) {
        consumer.accept(first(underWay));
      }
      progress.report(corpus.size(), corpus.size());
    } finally {
      helpers.shutdownNow();
    }
  }

  /** Takes the first result. Until it is there, works on whatever nobody has begun. */
  private static <R> R first(Queue<FutureTask<R>> underWay) {
    FutureTask<R> first = underWay.element();
    for (FutureTask<R> task : underWay) {
      if (!first.isDone()) {
        task.run(); // nothing where another thread does
      }
    }
    return result(underWay.remove());
  }

  /** The next pieces; empty at the end. From the same beginning, they are always the same. */
  static List<Corpus.DocumentChunk> nextBatch(Corpus.DocumentReader pass) {
    List<Corpus.DocumentChunk> batch = new ArrayList<>();
    int length = 0;
    while (length < BATCH_LENGTH) {
      Optional<Corpus.DocumentChunk> piece = pass.next();
      if (piece.isEmpty()) {
        break;
      }
      batch.add(piece.get());
      length += piece.get().text().length() + 1;
    }
    return batch;
  }

  /** What work on another thread gave, or its failure. */
  static <R> R result(Future<R> future) {
    try {
      return future.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new DataException("interrupted while working on the corpus", e);
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case RuntimeException cause -> throw cause;
        case Error cause -> throw cause;
        case null, default -> throw new IllegalStateException(e);
      }
    }
  }
}
