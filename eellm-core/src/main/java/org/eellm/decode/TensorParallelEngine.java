package org.eellm.decode;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.eellm.decode.pipeline.PipelineSession;
import org.eellm.decode.pipeline.StageLinks;
import org.eellm.decode.request.Draft;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.World;
import org.eellm.distributed.message.PeerChannel;
import org.eellm.distributed.message.PeerChannel.Message;
import org.eellm.model.DecodingModel;

/**
 * Engines over a model that the ranks of a world share. The first rank has the requests, from
 * wherever they come.
 *
 * <p>Ranks of its tensor-parallel group have to take every step with the same texts: it says before
 * each step which texts come in and which end, and they follow. Tokens need no message: all ranks
 * get the same logits, and choose alike. Later pipeline stages pass the rows that the first stage
 * sends them, and choose nothing.
 *
 * <pre>{@code
 * TensorParallelEngine.run(
 *     world, model, engines -> {
 *       try (Engine engine = engines.start(model, limits)) { ... }
 *     });
 * }</pre>
 */
public final class TensorParallelEngine {
  private final PeerChannel channel;
  private final List<Integer> followers;
  private final Duration receiveTimeout;
  private final Stages stages;

  private TensorParallelEngine(PeerChannel channel, World world, Stages stages) {
    this.channel = channel;
    this.stages = stages;
    followers = IntStream.range(1, world.tp().size()).boxed().toList();
    receiveTimeout = world.timeout().dividedBy(4);
  }

  /** Starts engines, one after the other has been closed. */
  @FunctionalInterface
  public interface EngineStarter {
    Engine start(DecodingModel model, Limits limits);
  }

  /** The later pipeline stages, if there are any. */
  private record Stages(Optional<StageLinks> links) {

    /** A batch over a rank's part of the model, and what is on those stages. */
    Batch batch(DecodingModel model, Limits limits) {
      return links
          .map(all -> Batch.over(model, limits, all))
          .orElseGet(() -> new Batch(model, limits));
    }
  }

  /**
   * Does some work on the first rank, in whose engines the other ranks take part meanwhile. In a
   * world of one rank it is just done.
   *
   * @param model this rank's part
   * @throws DistributedException if another rank fails; the message names it
   */
  public static void run(World world, DecodingModel model, Consumer<EngineStarter> work) {
    PipelineSession.run(
        world,
        model,
        links -> {
          onFirstStage(world, model, work, new Stages(links));
          return true;
        });
  }

  private static void onFirstStage(
      World world, DecodingModel model, Consumer<EngineStarter> work, Stages stages) {
    if (world.tp().size() == 1) {
      work.accept((part, limits) -> Engine.over(stages.batch(part, limits), part, limits));
      return;
    }
    try (PeerChannel channel = world.tensorChannel()) {
      TensorParallelEngine steps = new TensorParallelEngine(channel, world, stages);
      if (world.tp().rank() == 0) {
        work.accept((part, limits) -> Engine.over(stages.batch(part, limits), part, limits, steps));
        steps.send(new StepMessage.Leave());
      } else {
        steps.follow(model);
      }
      channel.end();
    }
  }

  void send(StepMessage message) {
    byte[] bytes = StepMessage.encode(message);
    followers.forEach(follower -> channel.send(follower, bytes));
  }

  /**
   * Lets the others know that this rank is alive; to be called now and then while it waits.
   *
   * @throws DistributedException if one of them is not; the message names it
   */
  void keepAlive() {
    channel.pollIdle();
  }

  private void follow(DecodingModel model) {
    while (next() instanceof StepMessage.Start(Limits limits)) {
      try (Batch batch = stages.batch(model, limits)) {
        followEngine(batch);
      }
    }
  }

  private StepMessage next() {
    while (true) {
      var message = channel.receive(List.of(0), receiveTimeout).map(Message::bytes);
      if (message.isPresent()) {
        return StepMessage.decode(StepMessage.class, message.get());
      }
      stages.links().ifPresent(StageLinks::keepAlive);
    }
  }

  private void followEngine(Batch batch) {
    Map<Integer, Job> running = new HashMap<>();
    int count = 0;
    while (next() instanceof StepMessage.Step(List<byte[]> arrived, List<Integer> cancelled)) {
      for (byte[] bytes : arrived) {
        Request request = StepMessage.decode(Request.class, bytes);
        int number = count++;
        Job job =
            batch.job(request, "the prompt", new DiscardedOutput(() -> running.remove(number)));
        running.put(number, job);
        batch.add(job);
      }
      for (int number : cancelled) {
        Job job = running.get(number);
        if (job != null) {
          job.cancel();
        }
      }
      batch.stepOrFail();
    }
    batch.cancelAll();
  }

  /** Of a request whose tokens the first rank hands on. */
  private record DiscardedOutput(Runnable whenEnded) implements RequestListener {
    @Override
    public Reaction onToken(GeneratedToken token) {
      return Reaction.CONTINUE;
    }

    @Override
    public void onEnd(Result result) {
      whenEnded.run();
    }

    @Override
    public void onFailure(RuntimeException cause) {
      whenEnded.run();
    }
  }

  /**
   * Lets what a listener answers, or throws, take effect before the next step: the other ranks do
   * not know it, and take this step alike.
   */
  static final class BetweenSteps implements RequestListener {
    private final RequestListener listener;
    private final Runnable cancel;
    private final Runnable whenEnded;
    private int delivered;
    private boolean stopped;
    private final List<RuntimeException> failures = new ArrayList<>();

    /**
     * @param cancel ends the request before the next step
     * @param whenEnded called on the engine's thread
     */
    BetweenSteps(RequestListener listener, Runnable cancel, Runnable whenEnded) {
      this.listener = listener;
      this.cancel = cancel;
      this.whenEnded = whenEnded;
    }

    private boolean listens() {
      return !stopped && failures.isEmpty();
    }

    private void fail(RuntimeException failure) {
      failures.add(failure);
      cancel.run();
    }

    @Override
    public Reaction onToken(GeneratedToken token) {
      if (listens()) {
        delivered++;
        try {
          if (listener.onToken(token) == Reaction.STOP) {
            stopped = true;
            cancel.run();
          }
        } catch (RuntimeException e) {
          fail(e);
        }
      }
      return Reaction.CONTINUE;
    }

    @Override
    public void onDraft(Draft draft) {
      if (listens()) {
        guard(() -> listener.onDraft(draft));
      }
    }

    @Override
    public void onStep() {
      guard(listener::onStep); // which hands on the last token of a text that stops, too
    }

    private void guard(Runnable call) {
      try {
        call.run();
      } catch (RuntimeException e) {
        fail(e);
      }
    }

    @Override
    public void onEnd(Result result) {
      whenEnded.run();
      if (!failures.isEmpty()) {
        listener.onFailure(failures.getFirst());
      } else if (stopped && !endsWithLastDelivered(result)) {
        listener.onEnd(result.stoppedAfter(delivered));
      } else {
        listener.onEnd(result);
      }
    }

    private boolean endsWithLastDelivered(Result result) {
      return result.reason() == Result.FinishReason.END_TOKEN
          && result.tokens().size() == delivered;
    }

    @Override
    public void onFailure(RuntimeException cause) {
      whenEnded.run();
      listener.onFailure(failures.isEmpty() ? cause : failures.getFirst());
    }
  }
}
