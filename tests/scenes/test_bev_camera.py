"""The bird's-eye camera: exact, tight, and not misled by stray points."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.scans.types import Mesh
from gpt4scene.scenes.bev_camera import BevCamera, bev_hits, bev_points
from gpt4scene.scenes.bev_fit import fit_bev_camera
from gpt4scene.scenes.render import Raycaster

views = st.builds(
    BevCamera,
    st.floats(-50, 50),
    st.floats(-50, 50),
    st.floats(1e-3, 0.1),
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.just(2.0),
    st.just(0.0),
)


@settings(max_examples=50)
@given(views, st.tuples(st.floats(0, 2000), st.floats(0, 2000)))
def test_pixels_and_metres_are_inverse(view, pixel):
    back = view.to_pixels(view.to_metres(np.array([pixel])))[0]
    assert np.allclose(back, pixel, atol=1e-6)


def test_the_top_view_is_tight_and_its_rays_are_where_it_says(box_room):
    caster = Raycaster(box_room.mesh)
    view = fit_bev_camera(caster, box_room.objects, box_room.cameras, 400)
    assert max(view.width, view.height) == 400
    corners = view.to_metres(np.array([[-0.5, view.height - 0.5], [view.width - 0.5, -0.5]]))
    assert (corners[0] < [-2.5, -2.3]).all() and (corners[0] > [-2.9, -2.7]).all()
    assert (corners[1] > [2.5, 2.3]).all() and (corners[1] < [2.9, 2.7]).all()
    pixel = np.rint(view.to_pixels(np.array([[0.5, 1.9]]))).astype(int)
    point = bev_points(view, pixel, bev_hits(caster, view, pixel))[0]
    assert np.allclose(point, [0.5, 1.9, 0.8], atol=0.01)


def test_stray_points_do_not_shrink_the_room(box_room):
    speck = np.array([[60, 60, 1], [60.01, 60, 1], [60, 60.01, 1.0]])
    count = len(box_room.mesh.vertices)
    mesh = Mesh(
        np.concatenate([box_room.mesh.vertices, speck]),
        np.concatenate([box_room.mesh.faces, [[count, count + 1, count + 2]]]),
        np.concatenate([box_room.mesh.colors, np.zeros((3, 3), np.uint8)]),
    )
    view = fit_bev_camera(Raycaster(mesh), box_room.objects, box_room.cameras, 400)
    assert view.width * view.metres_per_pixel < 6
