"""The container back ends that the settings choose, put together."""

from __future__ import annotations

import hashlib
from pathlib import Path

from superagent.runtime.sandbox.containers.backend import Containers, Kind
from superagent.runtime.sandbox.containers.images import NamedImage, OwnImage
from superagent.runtime.sandbox.containers.leftovers import Marks
from superagent.runtime.sandbox.containers.sockets import DOCKER, podman_socket
from superagent.runtime.sandbox.root_tree import RootTrees
from superagent.settings import Sandbox as Chosen

GVISOR = "runsc"
_DOCKER_CURE = "install Docker 20.10 or newer and start it, or name its socket as `sandbox.docker_socket`"
_PODMAN_CURE = (
    "install Podman 4 or newer and start `podman system service -t 0`, or name its socket as `sandbox.podman_socket`"
)


def back_ends(
    chosen: Chosen, state: Path, trees: RootTrees, visible: tuple[str, ...], probe_user: int | None
) -> list[Containers]:
    """Give the chosen back ends, in their order, which is that of preference among them.

    `trees` are the roots for containers without an image of the settings, `visible` what all containers may read.
    """
    images = NamedImage(chosen.image, visible) if chosen.image else OwnImage(trees, visible)
    docker = chosen.docker_socket or DOCKER
    kinds = {
        "docker": Kind("docker", docker, _DOCKER_CURE),
        "gvisor": Kind("gvisor", docker, _DOCKER_CURE, runtime=GVISOR),
        "podman": Kind("podman", chosen.podman_socket or podman_socket(), _PODMAN_CURE, podman=True),
    }
    folder = state / "sandbox" / "containers"
    installation = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]
    marks = Marks(installation, folder)
    return [Containers(kinds[name], images, marks, probe_user) for name in dict.fromkeys(chosen.backends)]
