package org.eellm.decode;

import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.eellm.config.ExitLayout;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.pipeline.PipelineRanks;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.World;
import org.eellm.distributed.collective.DistributedBackend;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.Decoder;

/**
 * A rank of its own process, in the place its environment says: generates a text without end until
 * something fails, and then prints why. Says {@code ready} when tokens have left the model.
 */
final class GeneratingRank {
  private static final int CONTEXT = 20_000;
  private static final int READY = 20; // heads that have spoken
  private static final double THRESHOLD = 0.1;

  private GeneratingRank() {}

  /** Takes the timeout in milliseconds, and the tensor-parallel and pipeline size. */
  public static void main(String[] args) {
    Duration timeout = Duration.ofMillis(Long.parseLong(args[0]));
    Mesh mesh = new Mesh(Integer.parseInt(args[1]), 1, Integer.parseInt(args[2]));
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    try (World world = World.fromEnvironment(mesh, timeout, DistributedBackend.CPU);
        Decoder whole = SmallModel.withContext(exits, CONTEXT);
        Decoder part = PipelineRanks.part(whole.architecture(), world)) {
      part.initialize(7);
      try {
        Request request = request();
        if (world.pp().rank() > 0) {
          System.out.println("ready"); // the first stage alone asks policies and samplers
        }
        Generator.generate(part, world, Limits.of(part), List.of(request), TokenListener.none());
      } catch (DistributedException e) {
        world.fail(e);
        System.out.println(e.getMessage());
      }
    }
  }

  private static Request request() {
    AtomicInteger heard = new AtomicInteger();
    ExitPolicy policy = ExitPolicies.maxProbability(Threshold.of(THRESHOLD));
    Sampler sampler = new RandomSampler(1, 0, 1, 1, 7);
    return new Request(
        new Random(1).ints(3, 0, SmallModel.VOCABULARY).boxed().toList(),
        CONTEXT - 3,
        Set.of(),
        prediction -> {
          count(heard);
          return policy.leaves(prediction);
        },
        prediction -> {
          count(heard);
          return sampler.next(prediction);
        });
  }

  private static void count(AtomicInteger heard) {
    if (heard.incrementAndGet() == READY) {
      System.out.println("ready");
    }
  }
}
